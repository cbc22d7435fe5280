"""CPU time of the text metrics beside the packages that others score with.

`python benchmarks/metrics.py` prints the tables; `--write` keeps them. 2,000 pairs of about 200
words from a vocabulary of 10,000 that is used as unevenly as in English (Zipf), one core, one
process. Rounds are interleaved: in each, every row runs once, in a random order. Needs the extra
`peers`; a package that is not installed is a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _page import machine
from _summary import Spread, markdown

from ctfw.plugins import load_plugins
from ctfw.types import Prediction

PAIRS, WORDS, VOCABULARY = 2000, 200, 10_000
RESULTS = Path(__file__).resolve().parent / "results" / "metrics.md"
TOGETHER = "BLEU-1..4 + ROUGE-L + CIDEr-D"
TARGETS = {TOGETHER: 60.0, "METEOR, exact + stem": 5.0}
"""Row -> how many times less CPU time than its peer, set before the code was written."""

Texts = Sequence[str]
Values = dict[str, float]
Work = Callable[[Texts, Texts], Values]


class WithoutWordNet:
    """Makes nltk's METEOR do without synonyms, as ours does."""

    def synsets(self, word: str) -> list[Any]:
        return []


def coco(*names: str) -> Work:
    """pycocoevalcap's scorers of those names."""

    def work(generated: Texts, reference: Texts) -> Values:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge

        gts = {i: [text] for i, text in enumerate(reference)}
        res = {i: [text] for i, text in enumerate(generated)}
        values: Values = {}
        with contextlib.redirect_stdout(io.StringIO()):
            if "bleu" in names:
                total, _ = Bleu(4).compute_score(gts, res)
                values |= {f"bleu-{i + 1}": float(value) for i, value in enumerate(total)}
            if "rouge-l" in names:
                values["rouge-l"] = float(Rouge().compute_score(gts, res)[0])
            if "cider" in names:
                values["cider"] = float(Cider().compute_score(gts, res)[0])
        return values

    return work


def nltk_meteor(generated: Texts, reference: Texts) -> Values:
    from nltk.translate.meteor_score import single_meteor_score

    pairs = zip(generated, reference, strict=True)
    wordnet = WithoutWordNet()
    each = [single_meteor_score(r.split(), g.split(), wordnet=wordnet) for g, r in pairs]
    return {"meteor": float(np.mean(each))}


def nltk_bleu(generated: Texts, reference: Texts) -> Values:
    from nltk.translate.bleu_score import corpus_bleu

    refs = [[text.split()] for text in reference]
    return {"bleu-4": float(corpus_bleu(refs, [text.split() for text in generated]))}


def sacrebleu(generated: Texts, reference: Texts) -> Values:
    from sacrebleu.metrics import BLEU

    return {"bleu-4": BLEU().corpus_score(list(generated), [list(reference)]).score / 100}


def rouge_score(generated: Texts, reference: Texts) -> Values:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score(r, g) for g, r in zip(generated, reference, strict=True)]
    names = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
    return {
        ours: float(np.mean([s[theirs].fmeasure for s in each])) for ours, theirs in names.items()
    }


def ours(protocol: str, *names: str, **settings: Any) -> Work:
    """Components of ctfw, built before the clock runs; texts in, numbers out."""
    catalog = load_plugins(only="none").catalog
    metrics = []
    for name in names:
        component = catalog.get("metric", name)
        more = {"synonyms": "never"} if name == "meteor" else {}
        more |= settings if name == "bleu" else {}
        metrics.append(component.load()(component.config(protocol=protocol, **more), None))

    def work(generated: Texts, reference: Texts) -> Values:
        pairs = enumerate(zip(generated, reference, strict=True))
        predictions = [Prediction(str(i), str(i), *texts) for i, texts in pairs]
        values: Values = {}
        for metric in metrics:
            values |= metric.score(predictions).values
        return values

    return work


@dataclass
class Row:
    """One metric by a peer and by ctfw, with the CPU seconds of each round."""

    title: str
    peer: str
    theirs: Work
    mine: Work
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"peer": [], "ctfw": []})
    difference: float = 0.0
    failure: str = ""


def rows() -> list[Row]:
    raw = {"smoothing": "coco"}
    coco_all = ("bleu", "rouge-l", "cider")
    return [
        Row(TOGETHER, "pycocoevalcap", coco(*coco_all), ours("whitespace", *coco_all, **raw)),
        Row("BLEU-1..4", "pycocoevalcap", coco("bleu"), ours("whitespace", "bleu", **raw)),
        Row("ROUGE-L", "pycocoevalcap", coco("rouge-l"), ours("whitespace", "rouge-l")),
        Row("CIDEr-D", "pycocoevalcap", coco("cider"), ours("whitespace", "cider")),
        Row("METEOR, exact + stem", "nltk", nltk_meteor, ours("whitespace", "meteor")),
        Row("BLEU-4", "nltk", nltk_bleu, ours("whitespace", "bleu")),
        Row("BLEU-4, 13a", "sacrebleu", sacrebleu, ours("sacrebleu", "bleu")),
        Row(
            "ROUGE-1, -2 and -L",
            "rouge-score",
            rouge_score,
            ours("rouge_score", "rouge-n", "rouge-l"),
        ),
    ]


def texts(pairs: int, seed: int) -> tuple[list[str], list[str]]:
    """Generated and reference texts, 150 to 250 words each, word i with chance 1 / i."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, VOCABULARY + 1)
    words = np.array([f"w{i}" for i in range(VOCABULARY)])

    def text() -> str:
        size = rng.integers(WORDS - 50, WORDS + 51)
        return " ".join(words[rng.choice(VOCABULARY, size, p=chance / chance.sum())])

    return [text() for _ in range(pairs)], [text() for _ in range(pairs)]


def timed(work: Work, made: tuple[list[str], list[str]]) -> tuple[float, Values]:
    start = time.process_time()
    values = work(*made)
    return time.process_time() - start, values


def run(table: Sequence[Row], pairs: int, rounds: int) -> Iterator[str]:
    """Run every row once per round; yields what it is doing."""
    rng = np.random.default_rng(0)
    warm = texts(5, 1)
    for row in table:  # imports and first calls are not what is measured
        try:
            row.theirs(*warm)
        except ImportError as error:
            row.failure = str(error)
        row.mine(*warm)
    for number in range(rounds):
        made = texts(pairs, number)
        for index in rng.permutation(len(table)):
            row = table[index]
            yield f"round {number + 1}: {row.title}"
            seconds, values = timed(row.mine, made)
            row.seconds["ctfw"].append(seconds)
            if not row.failure:
                seconds, expected = timed(row.theirs, made)
                row.seconds["peer"].append(seconds)
                found = max(abs(values[name] - expected[name]) for name in expected)
                row.difference = max(row.difference, found)


def line(row: Row) -> list[str]:
    """A line of the table: medians, and the ratio within each round."""
    mine = f"{median(row.seconds['ctfw']):.2f}"
    if row.failure:
        return [row.title, row.peer, f"not installed: {row.failure}", mine, "", "", "", ""]
    ratio = Spread.of(
        [p / c for p, c in zip(row.seconds["peer"], row.seconds["ctfw"], strict=True)]
    )
    target = TARGETS.get(row.title)
    return [
        row.title,
        row.peer,
        f"{median(row.seconds['peer']):.2f}",
        mine,
        f"{ratio.median:.1f} ({ratio.low:.1f} - {ratio.high:.1f})",
        f"{row.difference:.0e}",
        "" if target is None else f"{target:.0f}",
        "" if target is None else ("yes" if ratio.median >= target else "NO"),
    ]


def page(table: Sequence[Row], pairs: int, rounds: int) -> str:
    head = ["metric", "peer", "peer: CPU s", "ctfw: CPU s", "ratio: median (min - max)"]
    head += ["largest difference", "target", "met"]
    return (
        f"{pairs:,} pairs of {WORDS - 50} to {WORDS + 50} words, vocabulary {VOCABULARY:,} (Zipf), "
        f"one core, CPU seconds from texts to corpus and per-case values: the median of {rounds} "
        "interleaved rounds, each with texts of its own. The ratio is taken inside each round. "
        "Imports are not counted. METEOR without WordNet on both sides. The largest difference is "
        "that of the values of both sides.\n\n"
        + markdown(head, [line(row) for row in table])
        + f"\n\n{date.today().isoformat()}, {machine()}, {packages()}\n"
    )


def packages() -> str:
    found = []
    for name in ("numpy", "rapidfuzz", "pycocoevalcap", "nltk", "sacrebleu", "rouge-score"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the table: {RESULTS.name}")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = rows()
    for progress in run(table, asked.pairs, asked.rounds):
        print(progress, file=sys.stderr)
    text = page(table, asked.pairs, asked.rounds)
    print(text)
    if asked.write:
        head = "<!-- Made by `python benchmarks/metrics.py --write` -->\n\n"
        RESULTS.write_text(f"{head}# Text metrics: measured\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
