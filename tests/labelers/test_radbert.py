"""`radbert` on tiny random weights of the published classes and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel

from ctfw.errors import BadCheckpoint, UserError
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.labelers.configs import RadBertConfig
from ctfw_plugins.labelers.radbert import RadBert, RadBertClassifier

TEXTS = (
    "Pleural effusion is observed on the right side. The heart is normal.",
    "No nodule was detected in both lungs. Emphysema in the upper lobes.",
    "Trachea, both main bronchi are open. Minimal atelectasis.",
)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of the published classifier, of another size."""
    folder = tmp_path_factory.mktemp("radbert")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, special_tokens=SPECIAL)
    bpe.save_model(str(folder))
    config = RobertaConfig(
        vocab_size=bpe.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
    )
    config.save_pretrained(folder)
    torch.manual_seed(3)
    model = RadBertClassifier(RobertaModel(config), 16, 18)
    with torch.no_grad():  # so that the texts differ in what is above the threshold
        for values in (p for p in model.parameters() if p.ndim > 1):
            values.normal_(0, 0.5)
    torch.save(model.state_dict(), folder / "RadBertClassifier.pth")
    return folder


def radbert(folder: Path, **settings: Any) -> RadBert:
    return RadBert(RadBertConfig(folder=folder, device="cpu", **settings))


def by_hand(folder: Path, ids: list[int]) -> np.ndarray:
    """Sigmoids of one text by the parts that transformers offers."""
    state = torch.load(folder / "RadBertClassifier.pth", weights_only=True)
    encoder = RobertaModel(RobertaConfig.from_pretrained(folder)).eval()
    encoder.load_state_dict(
        {k.removeprefix("model."): v for k, v in state.items() if "model." in k}
    )
    with torch.inference_mode():
        pooled = encoder(torch.tensor([ids])).pooler_output[0]
        logits = state["classifier.weight"] @ pooled + state["classifier.bias"]
    values: np.ndarray = torch.sigmoid(logits).numpy()
    return values


def ids_of(folder: Path, text: str) -> list[int]:
    bpe = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return [0, *bpe.encode(text).ids, 2]


def test_probabilities_are_those_of_encoder_pooler_and_linear_layer(published: Path) -> None:
    labeler = radbert(published)
    expected = np.stack([by_hand(published, ids_of(published, text)) for text in TEXTS])
    assert labeler.probabilities(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(labeler.label(TEXTS), (expected >= 0.5).astype(np.int8))
    assert len(np.unique(labeler.label(TEXTS), axis=0)) > 1
    assert labeler.names == CT_RATE_LABELS


def test_long_reports_are_cut_as_published_or_read_in_windows(published: Path) -> None:
    text = " ".join(TEXTS * 40)
    ids = ids_of(published, text)
    assert len(ids) > 1000
    cut = radbert(published)
    assert cut.probabilities([text])[0] == pytest.approx(
        by_hand(published, [*ids[:511], 2]), abs=1e-5
    )
    whole = radbert(published, long="chunk")
    body, starts = ids[1:-1], range(0, len(ids) - 2 - 64, 510 - 64)
    windows = [by_hand(published, [0, *body[i : i + 510], 2]) for i in starts]
    assert whole.probabilities([text])[0] == pytest.approx(np.max(windows, axis=0), abs=1e-5)
    assert (whole.probabilities([text]) >= cut.probabilities([text]) - 1e-5).all()
    assert whole.probabilities(TEXTS) == pytest.approx(cut.probabilities(TEXTS), abs=1e-5)
    assert "|truncated|" in cut.signature
    assert "|windows:overlap64:max|" in whole.signature


def test_empty_texts_have_no_label_and_texts_do_not_touch_each_other(published: Path) -> None:
    labeler = radbert(published, batch_size=2)
    together = labeler.probabilities([TEXTS[0], "", " . ", TEXTS[1] * 9, TEXTS[2]])
    assert not together[1:3].any()
    alone = np.concatenate([labeler.probabilities([t]) for t in (TEXTS[0], TEXTS[1] * 9, TEXTS[2])])
    assert together[[0, 3, 4]] == pytest.approx(alone, abs=1e-5)
    assert labeler.label([]).shape == (0, 18)


def test_safetensors_parallel_names_and_old_constants_are_read(
    published: Path, tmp_path: Path
) -> None:
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = torch.load(published / "RadBertClassifier.pth", weights_only=True)
    old = state | {"model.embeddings.position_ids": torch.arange(514)[None]}
    save_file({f"module.{k}": v.clone() for k, v in old.items()}, tmp_path / "w.safetensors")
    other = radbert(tmp_path, weights="w.safetensors")
    first = radbert(published)
    assert np.array_equal(other.probabilities(TEXTS), first.probabilities(TEXTS))
    assert other.signature != first.signature  # the hash is that of the file


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("classifier.bias"), "classifier.bias is missing"),
        (
            lambda s: s.update({"classifier.weight": torch.zeros(5, 16)}),
            r"classifier.weight is \(5, 16\) instead of \(18, 16\)",
        ),
        (lambda s: s.update({"head.x": torch.zeros(1)}), "head.x is not known"),
    ],
)
def test_other_weights_are_refused_by_name(
    published: Path, tmp_path: Path, change: Any, words: str
) -> None:
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = torch.load(published / "RadBertClassifier.pth", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "RadBertClassifier.pth")
    with pytest.raises(BadCheckpoint, match=words):
        radbert(tmp_path).label(TEXTS)


def test_code_in_a_pickle_is_not_run_and_missing_files_are_named(
    published: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"has no config.json and no RadBertClassifier.pth"):
        radbert(tmp_path)
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    torch.save({"classifier.bias": Path("x")}, tmp_path / "RadBertClassifier.pth")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        radbert(tmp_path).label(TEXTS)
    with pytest.raises(
        UserError, match=r"max_tokens is 600, but the model in .* has 512 positions"
    ):
        radbert(published, max_tokens=600).label(TEXTS)
