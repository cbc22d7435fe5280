"""What the model loses when its image is replaced: likelihoods and reports under other images.

The report stage, the audit and the validation of a training share this module. Work is written
line by line, so that a killed job goes on where it stopped, one image condition after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.contracts import Backbone, Labeler
from ctfw.engine.altered import ALTERED, altered
from ctfw.engine.batches import in_batches
from ctfw.engine.generation import Writer
from ctfw.engine.images import TokenBank
from ctfw.errors import BadData
from ctfw.runs.files import write_lines
from ctfw.scoring.again import SPANS, checked, is_numbers
from ctfw.scoring.likelihood import Marks, ReferenceNLL, marks
from ctfw.seed import stream
from ctfw.settings import Generation
from ctfw.types import Case, Prediction, Volume

CONDITIONS = ("own", "another", *ALTERED)
_DIGITS = 5  # of a token's NLL in nats, on disk and so in every number that is made of it


def swap_partners(cases: Sequence[Case], seed: int) -> list[Case]:
    """Another patient's case for each case: never the same patient, each used about once.

    Raises BadData when all cases belong to one patient.
    """
    patients = np.array([case.patient for case in cases])
    if len(set(patients)) < 2:
        raise BadData("visual reliance needs scans of at least two patients to swap")
    rng = stream(seed, "swap")
    order = rng.permutation(len(cases))
    for i in range(len(cases)):
        if patients[order[i]] == patients[i]:
            fits = np.flatnonzero(
                (patients[order] != patients[i]) & (patients != patients[order[i]])
            )
            if len(fits):
                j = int(rng.choice(fits))
                order[i], order[j] = order[j], order[i]
            else:  # one patient has more than half of the cases: a partner serves twice
                order[i] = int(rng.choice(np.flatnonzero(patients != patients[i])))
    return [cases[int(i)] for i in order]


@dataclass(frozen=True)
class Swaps:
    """The image that each case is read under, by condition: own, another patient's, altered."""

    bank: TokenBank
    cases: Sequence[Case]
    partners: Sequence[Case]
    seed: int

    @classmethod
    def of(cls, bank: TokenBank, cases: Sequence[Case], seed: int) -> Swaps:
        """With partners drawn from `seed`. Raises BadData as `swap_partners`."""
        return cls(bank, cases, swap_partners(cases, seed), seed)

    def names(self, condition: str) -> list[str]:
        """Whose image is shown to each case."""
        shown = self.partners if condition == "another" else self.cases
        return [case.id for case in shown]

    def image(self, condition: str, index: int) -> Any:
        """What the backbone reads for case `index`. Raises KeyError for an unknown condition."""
        if condition in ("own", "another"):
            return self.bank.case((self.cases if condition == "own" else self.partners)[index])
        return self.bank.volume(self.volume(condition, index))

    def volume(self, condition: str, index: int) -> Volume:
        """The preprocessed volume behind `image`. Raises KeyError for an unknown condition."""
        if condition in ("own", "another"):
            shown = self.cases if condition == "own" else self.partners
            return self.bank.images.volume(shown[index])
        case = self.cases[index]
        return altered(condition, self.bank.images.volume(case), self.seed, case.id)


def token_nll(
    backbone: Backbone, images: Sequence[Any], reports: Sequence[str]
) -> list[np.ndarray]:
    """(T_i,) NLL of each token of each reference report, nats; one forward pass."""
    import torch

    module = backbone.module()
    was_training = module.training
    module.eval()
    with torch.no_grad():
        output = backbone.forward(images, reports)
    module.train(was_training)
    nll = output.nll.float().cpu().numpy().astype(np.float64)
    answer = output.answer.cpu().numpy()
    return [row[mask] for row, mask in zip(nll, answer, strict=True)]


def report_nll(
    backbone: Backbone, images: Sequence[Any], reports: Sequence[str], batch: int
) -> np.ndarray:
    """(N,) mean negative log-likelihood per token of each reference report, nats."""
    values: list[float] = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        values += [float(each.mean()) for each in token_nll(backbone, images[part], reports[part])]
    return np.asarray(values)


def reference_nll(
    backbone: Backbone,
    swaps: Swaps,
    conditions: Sequence[str],
    batch: int,
    folder: Path,
    title: str,
    labeler: Labeler | None = None,
) -> ReferenceNLL:
    """The reference reports read under each condition; kept in `folder` as nll.CONDITION.jsonl,
    and where the tokens lie as spans.jsonl.

    A case without a reference has no tokens. A backbone without `spans` gives no marks, and with
    them no sentences.
    """
    found = {}
    for condition in conditions:
        file = folder / f"nll.{condition}.jsonl"
        name = f"{title}: read references ({condition} image)"
        found[condition] = _read_all(backbone, swaps, condition, batch, file, name)
    told = ReferenceNLL(found, _marks(backbone, swaps.cases, folder / SPANS, labeler))
    return checked(told, [case.id for case in swaps.cases], folder)


def _read_all(
    backbone: Backbone, swaps: Swaps, condition: str, batch: int, file: Path, title: str
) -> list[np.ndarray]:
    shown = [i for i, case in enumerate(swaps.cases) if case.report.strip()]
    names = swaps.names(condition)

    def work(part: Sequence[int]) -> list[dict[str, Any]]:
        images = [swaps.image(condition, i) for i in part]
        values = token_nll(backbone, images, [swaps.cases[i].report for i in part])
        return [
            {"case": swaps.cases[i].id, "image": names[i], "nll": np.round(each, _DIGITS).tolist()}
            for i, each in zip(part, values, strict=True)
        ]

    def fits(place: int, line: Mapping[str, Any]) -> bool:
        case, image = swaps.cases[shown[place]].id, names[shown[place]]
        return (line.get("case"), line.get("image")) == (case, image) and is_numbers(
            line.get("nll")
        )

    lines = in_batches(work, shown, batch, file, title, fits)
    result = [np.zeros(0)] * len(swaps.cases)
    for index, line in zip(shown, lines, strict=True):
        result[index] = np.asarray(line["nll"], float)
    return result


def _marks(
    backbone: Backbone, cases: Sequence[Case], file: Path, labeler: Labeler | None
) -> list[Marks]:
    """What each token belongs to; where the tokens lie is kept in `file`."""
    spans_of = getattr(backbone, "spans", None)
    if spans_of is None:
        return []
    told = [case for case in cases if case.report.strip()]
    spans = dict(zip([c.id for c in told], spans_of([c.report for c in told]), strict=True))
    write_lines(file, ({"case": case, "spans": each.tolist()} for case, each in spans.items()))
    empty = np.zeros((0, 2), np.int64)
    return [marks(case.report, spans.get(case.id, empty), labeler) for case in cases]


def write_all(
    writer: Writer,
    swaps: Swaps,
    condition: str,
    settings: Generation,
    file: Path,
    title: str,
) -> list[tuple[str, str]]:
    """(text, "stop" or "length") of each case's image under a condition, in order."""
    names = swaps.names(condition)

    def work(part: Sequence[int]) -> list[dict[str, Any]]:
        made = writer.write(swaps, condition, part, settings)
        return [
            {"image": names[i], "text": text, "finish": finish}
            for i, (text, finish) in zip(part, made, strict=True)
        ]

    def fits(place: int, line: Mapping[str, Any]) -> bool:
        made = isinstance(line.get("text"), str) and isinstance(line.get("finish"), str)
        return made and line.get("image") == names[place]

    every = range(len(swaps.cases))
    lines = in_batches(work, every, writer.batch(settings), file, title, fits)
    return [(str(line["text"]), str(line["finish"])) for line in lines]


def predictions(cases: Sequence[Case], texts: Sequence[tuple[str, str]]) -> list[Prediction]:
    """One prediction per case, in order; texts are (text, "stop" or "length")."""
    return [
        Prediction(case.id, case.patient, text, case.report, finish=finish)
        for case, (text, finish) in zip(cases, texts, strict=True)
    ]
