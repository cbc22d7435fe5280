"""CPU time of the tests and intervals on 2,000 pairs of reports, beside sacrebleu's.

`python benchmarks/significance.py` prints the table; `--write` keeps it. Each measurement is a
process of its own with one thread. Counting n-grams and labels is not in it: the statistics of
each pair are made once, and every test starts from them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _one_run import peak_mib

from ctfw.scoring.labels import accuracy_values, label_counts
from ctfw.scoring.randomise import bootstrap_test, randomisation_test
from ctfw.scoring.resample import bootstrap, values
from ctfw.types import Prediction, Scores
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import BleuConfig

PAIRS, WORDS, VOCABULARY, LABELS = 2_000, 200, 10_000, 18
BUDGET_S = 2.0
RESULTS = Path(__file__).resolve().parent / "results" / "significance.md"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


def texts() -> tuple[list[str], list[str], list[str]]:
    """References, and two systems that put in a wrong word at 300 and at 302 of 1,000 places."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(VOCABULARY)])
    shares = 1 / np.arange(1, VOCABULARY + 1)
    shares /= shares.sum()

    def noisy(reference: np.ndarray, share: float) -> str:
        wrong = rng.random(len(reference)) < share
        return " ".join(np.where(wrong, rng.choice(words, len(reference), p=shares), reference))

    drawn = [rng.choice(words, rng.integers(150, 251), p=shares) for _ in range(PAIRS)]
    first, second = ([noisy(reference, share) for reference in drawn] for share in (0.300, 0.302))
    return [" ".join(reference) for reference in drawn], first, second


def bleu_pair() -> tuple[Scores, Scores]:
    references, first, second = texts()
    metric = Bleu(BleuConfig(protocol="whitespace"))
    one, two = (
        metric.score(
            [Prediction(f"{i}", f"{i}", *pair) for i, pair in enumerate(zip(made, references))]
        )
        for made in (first, second)
    )
    return one, two


def label_pair() -> tuple[Scores, Scores]:
    rng = np.random.default_rng(1)
    reference = (rng.random((PAIRS, LABELS)) < 0.2).astype(np.int8)

    def scored(share: float) -> Scores:
        wrong = rng.random(reference.shape) < share
        statistics = label_counts(reference, np.where(wrong, 1 - reference, reference))
        return Scores({}, "labels", statistics=statistics, reduce=accuracy_values)

    return scored(0.100), scored(0.102)


def sacrebleu_test(kind: str, samples: int) -> Callable[[], str]:
    """The paired test of sacrebleu on the same texts, its n-grams counted beforehand."""
    from sacrebleu import BLEU
    from sacrebleu.significance import PairedTest

    references, first, second = texts()
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    test = PairedTest(
        [("a", first), ("b", second)], {"BLEU": metric}, [references], kind, n_samples=samples
    )
    counted = {
        id(made): metric._extract_corpus_statistics(made, [references]) for made in (first, second)
    }
    metric._extract_corpus_statistics = lambda made, _: counted[id(made)]
    return lambda: _p(test()[1]["BLEU"][1].p_value)


def _p(value: float) -> str:
    return f"{value:.4f}"


def prepared(name: str) -> Callable[[], str]:
    """The work of one row; what it returns is shown in the last column."""
    everyone = [str(i) for i in range(PAIRS)]
    if name.startswith("sacrebleu"):
        return sacrebleu_test(
            *{"sacrebleu ar": ("ar", 10_000), "sacrebleu bs": ("bs", 1_000)}[name]
        )
    one, two = bleu_pair() if "BLEU" in name else label_pair()
    key = "bleu-4" if "BLEU" in name else "macro-f1"
    if "randomisation" in name:
        return lambda: _p(randomisation_test(one, two, everyone)[key].p)
    if "paired bootstrap" in name:
        return lambda: _p(bootstrap_test(one, two, everyone, 1_000)[key].p)
    method: Any = "bca" if "BCa" in name else "percentile"
    return lambda: "{:.4f} [{:.4f}, {:.4f}]".format(
        values(one)[key], *bootstrap(one, everyone, method=method)[key]
    )


ROWS = {
    "10,000 randomisations, BLEU-1..4": BUDGET_S,
    "sacrebleu ar": None,
    "1,000 draws of the paired bootstrap, BLEU-1..4": None,
    "sacrebleu bs": None,
    "10,000 randomisations, 11 label scores": BUDGET_S,
    "interval of 2,000 draws, BLEU-1..4": None,
    "interval of 2,000 draws, 11 label scores": None,
    "BCa interval of 2,000 draws, BLEU-1..4": None,
}
WORDING = {
    "sacrebleu ar": "sacrebleu: 10,000 randomisations, BLEU-4",
    "sacrebleu bs": "sacrebleu: 1,000 draws of the paired bootstrap, BLEU-4",
}


@dataclass(frozen=True)
class Measurement:
    """One process: CPU seconds and MiB above what stood before the work, and its result."""

    cpu_s: float
    growth_mib: float
    result: str


def measured(name: str) -> Measurement:
    work = prepared(name)
    before, clock = peak_mib(), time.process_time()
    result = work()
    return Measurement(time.process_time() - clock, peak_mib() - before, result)


def in_a_process(name: str) -> Measurement:
    command = [sys.executable, __file__, "--one", name]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Measurement(**json.loads(done.stdout))


def page(runs: dict[str, list[Measurement]]) -> str:
    """The table in Markdown, with what made it."""
    from _page import machine
    from _summary import markdown

    rows = []
    for name, found in runs.items():
        cpu, budget = median(run.cpu_s for run in found), ROWS[name]
        kept = "" if budget is None else f"below {budget:.0f} s: {'yes' if cpu < budget else 'NO'}"
        growth = max(run.growth_mib for run in found)
        rows.append([WORDING.get(name, name), f"{cpu:.2f}", f"{growth:.0f}", found[0].result, kept])
    number = len(next(iter(runs.values())))
    return (
        f"{PAIRS:,} pairs of about {WORDS} words, each a patient of its own, a vocabulary of "
        f"{VOCABULARY:,}; {LABELS} labels. CPU seconds are the median of {number} processes with "
        "one thread, memory the largest growth. The result is the p-value or the interval of "
        "BLEU-4 or macro-F1; that of sacrebleu comes from other random numbers.\n\n"
        + markdown(["work", "CPU s", "MiB more", "result", "budget"], rows)
        + f"\n\n{date.today().isoformat()}, {machine()}, NumPy {np.__version__}, sacrebleu "
        f"{version('sacrebleu')}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the table: {RESULTS.name}")
    parser.add_argument("--runs", type=int, default=5, help="processes for each row")
    parser.add_argument("--one", metavar="ROW", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(asdict(measured(asked.one))))
        return
    runs: dict[str, list[Measurement]] = {name: [] for name in ROWS}
    for _ in range(asked.runs):  # rounds: a drift of the machine's speed meets all rows
        for name, found in runs.items():
            print(name, file=sys.stderr)
            found.append(in_a_process(name))
    text = page(runs)
    print(text)
    if asked.write:
        RESULTS.parent.mkdir(exist_ok=True)
        head = "<!-- Made by `python benchmarks/significance.py --write` -->\n\n"
        RESULTS.write_text(head + "# Tests and intervals: measured\n\n" + text, encoding="utf-8")


if __name__ == "__main__":
    main()
