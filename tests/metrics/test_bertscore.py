"""BERTScore against its formula written out, on encoders with random weights."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoder import WORDS, save_bert, save_roberta
from transformers import AutoModel, AutoTokenizer

from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.testing import assert_component
from ctfw.types import Prediction
from ctfw_plugins.metrics.bertscore import NAMES, BertScore
from ctfw_plugins.metrics.configs import BertScoreConfig


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))


def metric(folder: Path, **settings: Any) -> BertScore:
    return BertScore(BertScoreConfig(weights=folder, device="cpu", **settings))


def predictions(pairs: list[tuple[str, str]]) -> list[Prediction]:
    return [Prediction(f"c{i}", f"p{i}", gen, ref) for i, (gen, ref) in enumerate(pairs)]


def texts(count: int, longest: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, longest)))

    return [(text(), text()) for _ in range(count)]


def written_out(
    folder: Path, pairs: list[tuple[str, str]], layer: int, idf: bool, blank: str = ""
) -> list[list[float]]:
    """Zhang et al. 2020, section 3, token by token: no batches, no matrices."""
    model = AutoModel.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)

    def embedded(text: str) -> list[tuple[int, np.ndarray]]:
        ids = words(blank + text, return_tensors="pt").input_ids
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states[layer][0]
        return list(zip(ids[0].tolist(), states.double().numpy(), strict=True))

    held = [{i for i, _ in embedded(reference)} for _, reference in pairs]

    def weight(token: int) -> float:
        if token in (words.cls_token_id, words.sep_token_id):
            return 0.0
        df = sum(token in ids for ids in held)
        return math.log((len(pairs) + 1) / (df + 1)) if idf else 1.0

    def side(own: Any, other: Any) -> float:
        total = best = 0.0
        for token, vector in own:
            cosines = [
                float(vector @ v / np.linalg.norm(vector) / np.linalg.norm(v)) for _, v in other
            ]
            best += weight(token) * max(cosines)
            total += weight(token)
        return best / total

    rows = []
    for generated, reference in pairs:
        x, y = embedded(generated), embedded(reference)
        p, r = side(x, y), side(y, x)
        rows.append([p, r, 2 * p * r / (p + r)])
    return rows


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_values_equal_the_formula_written_out(bert: Path, layer: int, idf: bool) -> None:
    pairs = texts(7, 30)
    scores = metric(bert, layer=layer, idf=idf, batch_size=4).score(predictions(pairs))
    expected = np.array(written_out(bert, pairs, layer, idf))
    for name, column in zip(NAMES, expected.T, strict=True):
        assert scores.per_case[name] == pytest.approx(column, abs=2e-6)
        assert scores.values[name] == pytest.approx(column.mean(), abs=2e-6)


def test_a_byte_level_tokenizer_gets_the_leading_blank_of_bert_score(roberta: Path) -> None:
    pairs = texts(4, 5, seed=1)
    scores = metric(roberta).score(predictions(pairs))
    expected = np.array(written_out(roberta, pairs, 3, False, blank=" "))
    assert scores.per_case["bertscore"] == pytest.approx(expected[:, 2], abs=2e-6)


def test_the_same_text_scores_one(bert: Path) -> None:
    scores = metric(bert).score(predictions([("no effusion", "no effusion")]))
    assert scores.values == pytest.approx(dict.fromkeys(NAMES, 1.0), abs=1e-6)


def test_values_do_not_hang_on_the_batch(bert: Path) -> None:
    pairs = [*texts(6, 35), *texts(3, 2), *texts(6, 35)[:2]]
    one = metric(bert, batch_size=1).score(predictions(pairs)).per_case["bertscore"]
    many = metric(bert, batch_size=64).score(predictions(pairs)).per_case["bertscore"]
    assert one == pytest.approx(many, abs=1e-6)
    assert many[-2:] == pytest.approx(many[:2])


def test_rescaling_moves_each_value_by_its_own_baseline(bert: Path) -> None:
    pairs = predictions(texts(3, 8))
    raw = metric(bert).score(pairs)
    moved = metric(bert, baseline=(0.5, 0.2, 0.25)).score(pairs)
    for name, base in zip(NAMES, (0.5, 0.2, 0.25), strict=True):
        expected = (raw.per_case[name] - base) / (1 - base)
        assert moved.per_case[name] == pytest.approx(expected)
    assert "|rescale:no|" in raw.protocol
    assert "|rescale:0.5,0.2,0.25|" in moved.protocol


def test_the_protocol_says_model_layer_idf_and_cut(bert: Path, tmp_path: Path) -> None:
    own = metric(bert, layer=2, idf=True).protocol
    assert own.endswith("|layer:2|idf:references|rescale:no|float32|cut:40 tokens")
    assert metric(bert).protocol.split("|")[2] == "layer:3"
    other = save_bert(tmp_path / "other", seed=1)
    assert metric(other, layer=2, idf=True).protocol != own


def test_long_texts_are_cut_at_the_positions_of_the_encoder_and_counted(
    bert: Path, roberta: Path
) -> None:
    long = " ".join(["effusion"] * 60)
    pairs = predictions([(long, "no effusion"), (long, long), ("mild", "mild")])
    scores = metric(bert).score(pairs)
    note = "bertscore: 1 references and 2 generated texts of 3 exceed 40 tokens and were cut there"
    assert scores.notes == (note,)
    assert scores.per_case["bertscore"][1] == pytest.approx(1)
    assert "cut:40 tokens" in metric(roberta).protocol  # 42 positions, two of the padding's
    assert np.isfinite(metric(roberta).score(pairs).per_case["bertscore"]).all()


def test_empty_texts_have_a_stated_value(bert: Path) -> None:
    pairs = predictions([(" ", "mild"), ("mild", "\n"), ("", ""), ("mild", "mild")])
    scores = metric(bert).score(pairs)
    values = scores.per_case["bertscore"]
    assert values == pytest.approx([0, np.nan, np.nan, 1], nan_ok=True)
    assert scores.values["bertscore"] == pytest.approx(0.5)
    assert "bertscore: 2 references are empty: NaN, left out of the means" in scores.notes
    assert "bertscore: 1 generated texts are empty: 0" in scores.notes


def test_tokens_that_every_reference_has_leave_nothing_to_weigh(bert: Path) -> None:
    scores = metric(bert, idf=True).score(predictions([("mild", "mild")]))
    assert np.isnan(scores.values["bertscore"])
    assert scores.notes == ("bertscore: 1 pairs in which every token has idf 0: NaN",)


def test_no_predictions_give_nan_and_the_reason(bert: Path) -> None:
    scores = metric(bert).score([])
    assert np.isnan(list(scores.values.values())).all()
    assert scores.notes == ("no predictions to score",)


def test_a_layer_beyond_the_encoder_is_named(bert: Path) -> None:
    with pytest.raises(UserError, match=r"bertscore.layer is 4, but the encoder has 3 layers"):
        metric(bert, layer=4).score(predictions([("a", "b")]))


def test_bertscore_keeps_the_contract_of_a_metric(bert: Path) -> None:
    component = load_plugins(only="none").catalog.get("metric", "bertscore")
    assert_component("metric", component, {"weights": str(bert), "device": "cpu"})
