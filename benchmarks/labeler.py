"""How well and how fast `ct-rate-18` reads reports. No text of a report is printed or kept.

`python benchmarks/labeler.py` measures the time on reports of the phantom data set.
`python benchmarks/labeler.py --csv train.csv` measures both on reports with manual labels: a CSV
with a column per label, such as `text_classifier/data/train.csv` of the CT-CLIP repository.
`--write` keeps the tables.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from _page import machine
from _summary import markdown

from ctfw.labels import CT_RATE_LABELS
from ctfw.scoring.labels import accuracy_values, label_counts, per_label
from ctfw.scoring.resample import bootstrap
from ctfw.scoring.tokens import tokenise
from ctfw.types import Scores
from ctfw_plugins.datasets.phantoms.prevalence import SHARES, draw_labels
from ctfw_plugins.datasets.phantoms.reports import join_sections, write_report
from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.ct_rate_18 import CtRate18

RESULTS = Path(__file__).resolve().parent / "results" / "labeler.md"
FOLDS = 5
PLACES = {"Medical material": "port", "Pulmonary fibrotic sequela": "right apex"}


@dataclass(frozen=True)
class Reports:
    """Texts with their manual labels (N, 18); the fold of each, by a hash of its id."""

    texts: Sequence[str]
    labels: np.ndarray
    folds: np.ndarray


def read(path: Path, text: str, name: str) -> Reports:
    """The reports of a CSV with the columns `text`, `name` and one per label."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    lacking = {text, name, *CT_RATE_LABELS} - set(rows[0] if rows else ())
    if lacking:
        raise SystemExit(f"{path}: no column {', '.join(sorted(lacking))}; see --text and --id")
    labels = [[float(row[label]) for label in CT_RATE_LABELS] for row in rows]
    return Reports(
        [row[text] for row in rows],
        np.array(labels).astype(np.int8),
        np.array([fold_of(row[name]) for row in rows]),
    )


def fold_of(name: str) -> int:
    """0 to 4, from the SHA-256 of the id: the same on every machine."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % FOLDS


def phantom_reports(count: int, seed: int = 0) -> list[str]:
    """Reports as the phantom data set writes them; no image is drawn."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        labels = draw_labels(SHARES, rng, rng)
        lesions = [
            {"label": label, "size_mm": 7.0, "side": "right"}
            | {"place": PLACES.get(label, "right lower lobe")}
            for label, present in zip(CT_RATE_LABELS, labels, strict=True)
            if present
        ]
        parts = write_report([int(v) for v in labels], lesions, "full", CT_RATE_LABELS, rng)
        texts.append(join_sections(*parts, "both"))
    return texts


def seconds(texts: Sequence[str]) -> tuple[float, float]:
    """CPU milliseconds per report of a new labeler, and of one that has met the sentences."""
    labeler = CtRate18(CtRate18Config())
    times = []
    for _ in range(2):
        start = time.process_time()
        labeler.label(texts)
        times.append(1000 * (time.process_time() - start) / len(texts))
    return times[0], times[1]


def speed(samples: Mapping[str, Sequence[str]], runs: int = 5) -> str:
    """A table of milliseconds per report."""
    rows = []
    for name, texts in samples.items():
        times = [seconds(texts) for _ in range(runs)]
        words = sum(len(text.split()) for text in texts) / len(texts)
        first, again = (median(column) for column in zip(*times, strict=True))
        rows.append([name, f"{len(texts):,}", f"{words:.0f}", f"{first:.2f}", f"{again:.2f}"])
    return markdown(["reports", "number", "words", "ms each, first", "ms each, again"], rows)


def macro_f1(reference: np.ndarray, found: np.ndarray) -> str:
    """`0.962 [0.955, 0.969]`: macro-F1 with its 95 % interval, reports resampled."""
    statistics = label_counts(reference, found)
    values = {key: float(v) for key, v in accuracy_values(statistics.sum(0)).items()}
    scores = Scores(values, "labels", statistics=statistics, reduce=accuracy_values)
    low, high = bootstrap(scores, [str(i) for i in range(len(found))], 2000, 0)["macro-f1"]
    return f"{values['macro-f1']:.3f} [{low:.3f}, {high:.3f}]"


def agreement(data: Reports, held_out: int) -> str:
    """Tables of macro-F1 and of each label, raw and cleaned, tuned and held out."""
    cleaned = [" ".join(tokens) for tokens in tokenise(data.texts, "r2gen")]
    labeler = CtRate18(CtRate18Config())
    found = {"raw": labeler.label(data.texts), "cleaned": labeler.label(cleaned)}
    parts = {
        "all": np.ones(len(data.texts), bool),
        "tuned": data.folds != held_out,
        "held out": data.folds == held_out,
    }
    head = ["reports", "number", *(f"macro-F1, {form} text" for form in found)]
    rows = [
        [name, str(int(part.sum()))]
        + [macro_f1(data.labels[part], values[part]) for values in found.values()]
        for name, part in parts.items()
    ]
    return "\n\n".join(
        [markdown(head, rows), by_label(data, found, parts), ceiling(data.labels, found["raw"])]
    )


def ceiling(reference: np.ndarray, found: np.ndarray) -> str:
    """What the reference reports themselves score, read by the labeler against manual labels."""
    values = accuracy_values(label_counts(reference, found).sum(0))
    values["coverage"] = 2 * values["balanced-accuracy"] - values["specificity"]
    names = ("coverage", "precision", "specificity", "accuracy", "micro-f1", "macro-f1", "crg")
    return (
        "With `reference: dataset` and labels as these, a model that writes the reference reports "
        "word for word would reach, and no model should be expected to pass:\n\n"
        + markdown(names, [[f"{float(values[name]):.3f}" for name in names]])
    )


def by_label(
    data: Reports, found: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray]
) -> str:
    """Support, precision and recall of each label, and its F1 in every part and form."""
    pairs = [(form, name) for form in found for name in parts]
    tables = {
        (form, name): per_label(data.labels[parts[name]], found[form][parts[name]], CT_RATE_LABELS)
        for form, name in pairs
    }
    head = ["label", "positives", "precision", "recall"]
    head += [f"F1 {form}, {name}" for form, name in pairs]
    whole = tables["raw", "all"]
    rows = [
        [label, str(whole[i]["support"])]
        + [f"{whole[i][key]:.3f}" for key in ("precision", "coverage")]
        + [f"{tables[pair][i]['f1']:.3f}" for pair in pairs]
        for i, label in enumerate(CT_RATE_LABELS)
    ]
    return markdown(head, rows)


def page(csv_file: Path | None, data: Reports | None, held_out: int) -> str:
    """The tables in Markdown, with what made them."""
    samples: dict[str, Sequence[str]] = {"of the phantom data set": phantom_reports(1000)}
    text = ""
    if data is not None and csv_file is not None:
        samples[f"of {csv_file.name}"] = data.texts
        text = (
            f"Against the manual labels of the {len(data.texts)} reports in `{csv_file.name}` "
            f"(SHA-256 {hashlib.sha256(csv_file.read_bytes()).hexdigest()[:16]}). A report is in "
            f"fold SHA-256(id) mod {FOLDS}; fold {held_out} is held out, see the README. Cleaned "
            "is R2Gen's cleaning: lower case, no commas, ` . ` between sentences.\n\n"
            + agreement(data, held_out)
            + "\n\n"
        )
    return (
        text
        + "CPU time of one core, the median of 5: of a new labeler, and of the same one again, "
        "which remembers sentences.\n\n"
        + speed(samples)
        + f"\n\n{CtRate18(CtRate18Config()).signature}\n\n{date.today().isoformat()}, {machine()}\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, help="reports with manual labels")
    parser.add_argument("--text", default="report_text", help="column of the reports")
    parser.add_argument("--id", default="AccessionNo", help="column of the ids")
    parser.add_argument("--held-out", type=int, default=4, help="fold that was not looked at")
    parser.add_argument("--write", action="store_true", help=f"keep the tables: {RESULTS.name}")
    asked = parser.parse_args(arguments)
    data = read(asked.csv, asked.text, asked.id) if asked.csv else None
    text = page(asked.csv, data, asked.held_out)
    print(text)
    if asked.write:
        command = "python benchmarks/labeler.py --csv train.csv --write"
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(
            f"<!-- Made by `{command}` -->\n\n# The labeler ct-rate-18: measured\n\n{text}",
            encoding="utf-8",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
