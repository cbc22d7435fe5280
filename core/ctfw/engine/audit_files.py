"""The files of an audit: numbers, predictions, one row per case and per sentence, words, page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.runs.files import write_json, write_lines, write_text
from ctfw.scoring.assess import Assessment
from ctfw.scoring.cells import guarded
from ctfw.scoring.facts import per_case_csv
from ctfw.scoring.likelihood import OWN, ReferenceNLL
from ctfw.scoring.predictions import write_predictions
from ctfw.types import Prediction

SHOWN = 12
"""Reports that are kept word by word for the page."""


def save(
    folder: Path,
    found: Assessment,
    tokens: ReferenceNLL,
    facts: Mapping[str, Any],
    label_names: Sequence[str],
) -> None:
    """Write all of it; audit.json comes last but the page, and says that the audit is whole.

    Raises UserError when something cannot be written.
    """
    from ctfw.page.audit import build_audit_page
    from ctfw.page.drawings import save_drawings

    synthetic = bool(facts["synthetic"])
    for name, made in (("own", found.predictions), *found.swapped.items()):
        ending = "" if name == "own" else f".{name}"
        file = folder / f"predictions{ending}.jsonl"
        write_predictions(file, made, label_names, synthetic=synthetic)
    write_text(folder / "per_case.csv", per_case_csv(found, synthetic=synthetic))
    if tokens.marks:
        write_text(folder / "sentences.csv", sentences_csv(found.predictions, tokens, synthetic))
        write_lines(folder / "words.jsonl", words(found.predictions, tokens))
    save_drawings(folder, facts)
    write_json(folder / "audit.json", facts)
    build_audit_page(folder)


def sentences_csv(
    predictions: Sequence[Prediction], tokens: ReferenceNLL, synthetic: bool = False
) -> str:
    """One row per sentence of the references, with its findings, its side, and its NLL summed over
    its tokens under each image, nats; words as `ctfw.scoring.cells.guarded` writes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    conditions = list(tokens.tokens)
    writer.writerow(
        ["case", "patient", "start", "end", "sentence", "kind", "findings", "side", "tokens"]
        + [f"nll-{name}" for name in conditions]
        + ["synthetic"] * synthetic
    )
    for place, (prediction, mark) in enumerate(zip(predictions, tokens.marks, strict=True)):
        for index, sentence in enumerate(mark.sentences):
            inside = mark.sentence == index
            told = [f"{'' if stated else 'no '}{name}" for name, stated in sentence.findings]
            words = " ".join(prediction.reference[sentence.start : sentence.end].split())
            sums = [float(tokens.tokens[name][place][inside].sum()) for name in conditions]
            writer.writerow(
                [guarded(prediction.case), guarded(prediction.patient)]
                + [sentence.start, sentence.end, guarded(words)]
                + [sentence.kind, "; ".join(told), sentence.side, int(inside.sum())]
                + [round(value, 5) for value in sums]
                + [1] * synthetic
            )
    return text.getvalue()


def words(
    predictions: Sequence[Prediction], tokens: ReferenceNLL, other: str = "another"
) -> Iterator[dict[str, Any]]:
    """Some references word by word: [text, NLL under another image minus under the own one].

    At most one case of a patient, spread over the list. A token that begins in the middle of a
    word joins it, and their differences add up.
    """
    first: dict[str, int] = {}
    for place, prediction in enumerate(predictions):
        if len(tokens.tokens[OWN][place]):
            first.setdefault(prediction.patient, place)
    places = list(first.values())
    step = max(1, -(-len(places) // SHOWN))
    for place in places[::step]:
        prediction = predictions[place]
        more = tokens.tokens[other][place] - tokens.tokens[OWN][place]
        spans = tokens.marks[place].spans
        yield {
            "case": prediction.case,
            "patient": prediction.patient,
            "words": _joined(prediction.reference, spans.tolist(), more.tolist()),
        }


def _joined(text: str, spans: Sequence[Sequence[int]], more: Sequence[float]) -> list[list[Any]]:
    """[text of a word with the blanks before it, sum of its tokens' differences]."""
    joined: list[list[Any]] = []
    at = 0
    for (_, end), value in zip(spans, more, strict=True):
        piece = text[at : max(end, at)]
        at = max(end, at)
        if joined and not (piece[:1].isspace() or not piece):
            joined[-1] = [joined[-1][0] + piece, round(joined[-1][1] + value, 3)]
        elif piece:
            joined.append([piece, round(value, 3)])
    return joined
