"""BERTScore (Zhang et al., ICLR 2020): greedy cosine matching of contextual token embeddings.

    P = sum_i w(x_i) max_j cos(x_i, y_j) / sum_i w(x_i)    x generated, y reference
    R the same with the two exchanged, F = 2 P R / (P + R)

w is 1, or with `idf` log((N + 1) / (df + 1)) over the N references; special tokens weigh 0 and
can be matched. Values depend on model, layer, idf and rescaling, so all stand in the protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.errors import UserError
from ctfw.local_models import device_of, model_folder, read_model, weights_fingerprint
from ctfw.progress import bar
from ctfw.scoring.labels import mean_defined
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import BertScoreConfig
from ctfw_plugins.metrics.judged_pairs import notes_on_empty, without_asking

if TYPE_CHECKING:
    import torch

SETTING = "bertscore.weights"
NAMES = ("bertscore-precision", "bertscore-recall", "bertscore")
Weigh = Callable[[Sequence[int]], "torch.Tensor"]


class BertScore:
    """Values `bertscore` (F), `bertscore-precision` and `bertscore-recall`, means of cases.

    An empty generated text scores 0; an empty reference gives NaN, and the notes count it.
    """

    needs_labels = False
    needs_model = True

    def __init__(self, config: BertScoreConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Raises UserError or BadCheckpoint for a folder that cannot be used."""
        table = self._rescaled(self._table(predictions))
        columns = {name: table[:, i] for i, name in enumerate(NAMES)}
        return Scores(
            values={name: float(mean_defined(column)) for name, column in columns.items()},
            protocol=self.protocol,
            per_case=columns,
            notes=tuple(self._notes(predictions, columns["bertscore"])),
        )

    @cached_property
    def protocol(self) -> str:
        """Everything that decides the values."""
        config = self.config
        weights = weights_fingerprint(model_folder(config.weights, SETTING))
        rescaled = "no" if config.baseline is None else ",".join(f"{b:g}" for b in config.baseline)
        return (
            f"mean of cases|weights:{weights}|layer:{self._layer}|"
            f"idf:{'references' if config.idf else 'no'}|rescale:{rescaled}|{config.dtype}|"
            f"cut:{self._limit} tokens"
        )

    @cached_property
    def _device(self) -> str:
        return device_of(self.config.device, "bertscore.device")

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """(encoder, tokenizer)"""
        config = self.config
        model, tokenizer = read_model(
            config.weights, "AutoModel", SETTING, config.dtype, self._device, absent=("pooler",)
        )
        return (model.get_encoder() if model.config.is_encoder_decoder else model), tokenizer

    @cached_property
    def _layer(self) -> int:
        return chosen_layer(self.config.layer, self._loaded[0].config.num_hidden_layers)

    @cached_property
    def _limit(self) -> int:
        """Tokens, special ones included, that the encoder has positions for."""
        model, tokenizer = self._loaded
        positions = getattr(model.config, "max_position_embeddings", None) or 1 << 20
        if "roberta" in model.config.model_type:  # its positions begin after the padding's
            positions -= (model.config.pad_token_id or 0) + 1
        return int(min(positions, tokenizer.model_max_length))

    def _table(self, predictions: Sequence[Prediction]) -> np.ndarray:
        """(N, 3) precision, recall and F of each pair."""
        values, asked = without_asking(predictions)
        table = np.repeat(values[:, None], 3, axis=1)
        if not asked:
            return table
        pairs: dict[tuple[str, str], list[int]] = {}
        for row in asked:
            pairs.setdefault(_stripped(predictions[row]), []).append(row)
        weigh = self._weights([_stripped(prediction)[1] for prediction in predictions])
        size = max(1, self.config.batch_size // 2)
        with bar("BERTScore", len(pairs)) as job:
            for part in _parts(list(pairs), size):
                vectors = self._vectors(list(dict.fromkeys(text for pair in part for text in pair)))
                for pair in part:
                    (x_ids, x), (y_ids, y) = vectors[pair[0]], vectors[pair[1]]
                    table[pairs[pair]] = greedy_match(x, y, weigh(x_ids), weigh(y_ids))
                job.advance(len(part))
        return table

    def _vectors(self, texts: Sequence[str]) -> dict[str, tuple[list[int], torch.Tensor]]:
        """Text -> (ids of T tokens, (T, D) embeddings of unit length)."""
        import torch

        model, tokenizer = self._loaded
        ids = [self._ids(text) for text in texts]
        width = max(map(len, ids))
        padded = torch.full((len(ids), width), tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(padded)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        with torch.inference_mode():
            states = model(
                input_ids=padded.to(model.device),
                attention_mask=mask.to(model.device),
                output_hidden_states=True,
            ).hidden_states[self._layer]
            unit = torch.nn.functional.normalize(states.float(), dim=-1).cpu()
        return {text: (t, unit[row, : len(t)]) for row, (text, t) in enumerate(zip(texts, ids))}

    def _ids(self, text: str) -> list[int]:
        _, tokenizer = self._loaded
        return list(
            tokenizer(self._spaced(text), truncation=True, max_length=self._limit).input_ids
        )

    def _spaced(self, text: str) -> str:
        """With the leading blank that bert-score gives to byte-level tokenizers (not to "")."""
        name = type(self._loaded[1]).__name__
        return f" {text}" if text and name.startswith(("Roberta", "GPT2")) else text

    def _weights(self, reference: Sequence[str]) -> Weigh:
        """What a token counts: 0 for the special ones, 1 or the rarity for the others."""
        import torch

        special = set(self._ids(""))
        if not self.config.idf:
            return lambda ids: torch.tensor([float(i not in special) for i in ids])
        number = len(reference)
        frequency = Counter(i for text in reference for i in set(self._ids(text)))
        return lambda ids: torch.tensor(
            [0.0 if i in special else np.log((number + 1) / (frequency[i] + 1)) for i in ids]
        )

    def _rescaled(self, table: np.ndarray) -> np.ndarray:
        if self.config.baseline is None:
            return table
        base = np.array(self.config.baseline)
        return (table - base) / (1 - base)

    def _notes(self, predictions: Sequence[Prediction], values: np.ndarray) -> Iterator[str]:
        yield from notes_on_empty("bertscore", predictions)
        if not predictions:
            return
        texts = [_stripped(prediction) for prediction in predictions]
        empty = sum(not reference for _, reference in texts)
        if weightless := int(np.isnan(values).sum()) - empty:
            yield f"bertscore: {weightless} pairs in which every token has idf 0: NaN"
        long = [self._too_long(side) for side in zip(*texts, strict=True)]
        if any(long):
            yield (
                f"bertscore: {long[1]} references and {long[0]} generated texts of {len(values)} "
                f"exceed {self._limit} tokens and were cut there"
            )

    def _too_long(self, texts: Sequence[str]) -> int:
        _, tokenizer = self._loaded
        counts = {t: len(tokenizer(self._spaced(t), verbose=False).input_ids) for t in set(texts)}
        return sum(counts[text] > self._limit for text in texts)


def _stripped(prediction: Prediction) -> tuple[str, str]:
    """(generated text, reference)"""
    return prediction.generated.strip(), prediction.reference.strip()


def chosen_layer(wanted: int | None, layers: int) -> int:
    """The hidden layer to compare; None is the last. Raises UserError beyond it."""
    if wanted is not None and wanted > layers:
        raise UserError(f"bertscore.layer is {wanted}, but the encoder has {layers} layers")
    return layers if wanted is None else wanted


def greedy_match(
    x: torch.Tensor, y: torch.Tensor, x_weights: torch.Tensor, y_weights: torch.Tensor
) -> tuple[float, float, float]:
    """Precision, recall and F of unit vectors x (T, D) and y (S, D) with weights (T,) and (S,).

    NaN where all weights of a side are 0.
    """
    cosine = x @ y.T
    precision = float((cosine.amax(1) * x_weights).sum() / x_weights.sum())
    recall = float((cosine.amax(0) * y_weights).sum() / y_weights.sum())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
