"""Report text -> the 18 CT-RATE labels, by the classifier that made CT-RATE's label tables.

RadBERT-RoBERTa with a linear layer of 18 outputs on its pooled first token; a label is set where
its sigmoid is at least 0.5 (Hamamci et al., arXiv 2403.17834). The published checkpoint cuts a
report after 512 tokens, which is about 350 to 400 words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ctfw.errors import BadCheckpoint, UserError
from ctfw.labels import CT_RATE_LABELS
from ctfw.local_models import device_of, offline, reason_of
from ctfw.progress import track
from ctfw_plugins.labelers.configs import RadBertConfig

_OVERLAP = 64  # tokens that two windows share, so that a sentence is whole in one of them
_THRESHOLD = 0.5
_DECIDES = ("config.json", "tokenizer.json", "vocab.json", "merges.txt")


class RadBertClassifier(nn.Module):
    """The encoder and the linear layer, under the names that the published checkpoint has."""

    def __init__(self, encoder: nn.Module, hidden: int, labels: int) -> None:
        super().__init__()
        self.model = encoder
        self.classifier = nn.Linear(hidden, labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B, T) token ids and their mask -> (B, labels) logits."""
        seen = self.model(input_ids=input_ids, attention_mask=attention_mask)
        logits: torch.Tensor = self.classifier(seen.pooler_output)
        return logits


class RadBert:
    """`signature` names the weights and what happens to long reports.

    Raises UserError where the folder lacks a file, BadCheckpoint where the weights do not fit.
    """

    def __init__(self, config: RadBertConfig, context: Any = None) -> None:
        self.config = config
        self.names: tuple[str, ...] = CT_RATE_LABELS
        self._folder = config.folder.expanduser()
        self._weights = _found(self._folder, config.weights)
        self._parts: tuple[RadBertClassifier, Any, str] | None = None
        long = "truncated" if config.long == "truncate" else f"windows:overlap{_OVERLAP}:max"
        self.signature = (
            f"radbert|weights:{_digest(self._folder, self._weights)}|tokens:{config.max_tokens}|"
            f"{long}|sigmoid>={_THRESHOLD}"
        )

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 18) int8. A text without a letter or digit has no label and is not shown to it."""
        return (self.probabilities(texts) >= _THRESHOLD).astype(np.int8)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 18) float32 sigmoids; of a report in windows, the largest of each label."""
        found = np.zeros((len(texts), len(self.names)), np.float32)
        full = [i for i, text in enumerate(texts) if any(map(str.isalnum, text))]
        if not full:
            return found
        model, tokenizer, device = self._load()
        starts = range(0, len(full), self.config.batch_size)
        for start in track(starts, "radbert: reading reports", len(starts)):
            rows = full[start : start + self.config.batch_size]
            batch, owner = self._tokens(tokenizer, [texts[i] for i in rows])
            values = _sigmoids(model, batch, device, self.config.batch_size)
            np.maximum.at(found, np.array(rows)[owner], values)
        return found

    def _tokens(self, tokenizer: Any, texts: Sequence[str]) -> tuple[dict[str, Any], np.ndarray]:
        """Padded windows, and the index of the text that each belongs to."""
        split = self.config.long == "chunk"
        options: dict[str, Any] = (
            {"return_overflowing_tokens": True, "stride": _OVERLAP} if split else {}
        )
        batch = tokenizer(
            list(texts),
            truncation=True,
            max_length=self.config.max_tokens,
            padding=True,
            return_tensors="pt",
            **options,
        )
        owner = batch["overflow_to_sample_mapping"].numpy() if split else np.arange(len(texts))
        return {key: batch[key] for key in ("input_ids", "attention_mask")}, owner

    def _load(self) -> tuple[RadBertClassifier, Any, str]:
        if self._parts is None:
            device = device_of(self.config.device, "labeler.device")
            encoder, tokenizer, hidden = _encoder(self._folder, self.config.max_tokens)
            model = RadBertClassifier(encoder, hidden, len(self.names))
            _fill(model, _state(self._weights), self._weights)
            self._parts = (model.eval().to(device), tokenizer, device)
        return self._parts


@torch.inference_mode()
def _sigmoids(
    model: RadBertClassifier, batch: Mapping[str, torch.Tensor], device: str, size: int
) -> np.ndarray:
    parts = [
        torch.sigmoid(
            model(**{key: value[i : i + size].to(device) for key, value in batch.items()})
        )
        for i in range(0, len(batch["input_ids"]), size)
    ]
    return torch.cat(parts).float().cpu().numpy()


def _found(folder: Path, weights: str) -> Path:
    """The file of weights. Raises UserError that says what the folder should hold."""
    missing = [name for name in ("config.json", weights) if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"labeler radbert: {folder} has no {' and no '.join(missing)}. It should hold the "
            "configuration and the tokenizer of RadBERT-RoBERTa-4m beside the classifier's "
            "weights, e.g. CT-RATE's RadBertClassifier.pth; nothing is downloaded here"
        )
    return folder / weights


def _digest(folder: Path, weights: Path) -> str:
    """Hash (8 hex digits) of the weights, the configuration and the tokenizer."""
    digest = hashlib.sha256()
    for file in (weights, *(folder / name for name in _DECIDES)):
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:8]


def _encoder(folder: Path, max_tokens: int) -> tuple[nn.Module, Any, int]:
    """(encoder without weights, tokenizer, width). Raises BadCheckpoint."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        with offline():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encoder = AutoModel.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        text = f"labeler radbert: {folder} cannot be loaded: {reason_of(error)}"
        raise BadCheckpoint(text) from error
    places = config.max_position_embeddings - config.pad_token_id - 1  # RoBERTa counts from there
    if max_tokens > places:
        raise UserError(
            f"labeler radbert: max_tokens is {max_tokens}, but the model in {folder} has "
            f"{places} positions"
        )
    return encoder, tokenizer, int(config.hidden_size)


def _state(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a pickled one that holds tensors alone."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            held: Any = load_file(file)
        else:
            held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what the readers raise for damaged files has no common base
        raise BadCheckpoint(
            f"{file}: these weights cannot be read: {reason_of(error)}. Only tensors are read from "
            "a pickle"
        ) from error
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(torch.is_tensor(value) for value in held.values()):
        raise BadCheckpoint(f"{file}: should hold a mapping of names to tensors")
    return {name.removeprefix("module."): value for name, value in held.items()}


def _fill(model: RadBertClassifier, state: dict[str, torch.Tensor], file: Path) -> None:
    """Put the tensors into the model. Raises BadCheckpoint where names or shapes differ."""
    state.pop("model.embeddings.position_ids", None)  # a constant that older versions saved
    own = model.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is not known" for name in state if name not in own]
    wrong += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        raise BadCheckpoint(
            f"{file}: not a RadBERT classifier of {len(CT_RATE_LABELS)} labels on the encoder of "
            f"config.json: {wrong[0]}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        )
    model.load_state_dict(state)
