"""CPU time and memory of the negative samplers on pools of 50,000 cases with 18 labels.

`python benchmarks/samplers.py` prints the table; `--write` keeps it. Each measurement is a process
of its own, and takes `fit`, the plan of one epoch and 10,000 draws.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _one_run import peak_mib

from ctfw.errors import UserError
from ctfw.labels import CT_RATE_LABELS
from ctfw.plugins import BUILTIN, load_plugins
from ctfw.types import Case, CaseTable
from ctfw_plugins.datasets.phantoms.prevalence import SHARES, draw_labels

CASES, DRAWS = 50_000, 10_000
CPU_S, MIB = 2.0, 200
RESULTS = Path(__file__).resolve().parent / "results" / "samplers.md"

Pool = tuple[np.ndarray, np.ndarray]
"""(N, 18) int8 of 0 and 1, and (N,) the patient of each case."""


def like_ct_rate(count: int, rng: np.random.Generator) -> Pool:
    """The labels of `phantom`, which come as often and together as CT-RATE's. A patient has 1.2
    studies and a study two reconstructions, as in CT-RATE's validation split."""
    labels: list[np.ndarray] = []
    patients: list[int] = []
    while len(labels) < count:
        person = [int(seed) for seed in rng.integers(2**32, size=2)]
        for study in range(1 + int(rng.random() < 0.2)):
            mine, this = (np.random.default_rng(seed) for seed in (person, [*person, study]))
            labels += [draw_labels(SHARES, mine, this)] * 2
            patients += [person[0] << 32 | person[1]] * 2
    return np.array(labels[:count]), np.array(patients[:count])


def independent(count: int, rng: np.random.Generator) -> Pool:
    """The same frequencies without any correlation: more different label vectors."""
    labels = rng.random((count, len(SHARES))) < SHARES
    return labels.astype(np.int8), rng.integers(count // 2, size=count)


def all_distinct(count: int, rng: np.random.Generator) -> Pool:
    """No two cases with the same labels, each a patient's only one."""
    codes = rng.choice(2 ** len(SHARES), count, replace=False)
    return ((codes[:, None] >> np.arange(len(SHARES))) & 1).astype(np.int8), np.arange(count)


def mostly_normal(count: int, rng: np.random.Generator) -> Pool:
    """Nine cases of ten without a finding: partners run out, and caps are passed."""
    labels, patients = like_ct_rate(count, rng)
    labels[rng.random(count) < 0.9] = 0
    return labels, patients


def one_patient(count: int, rng: np.random.Generator) -> Pool:
    """Two cases of five are of one patient."""
    labels, patients = like_ct_rate(count, rng)
    patients[rng.random(count) < 0.4] = -1
    return labels, patients


POOLS: dict[str, Callable[[int, np.random.Generator], Pool]] = {
    "like CT-RATE": like_ct_rate,
    "independent labels": independent,
    "all label vectors distinct": all_distinct,
    "90 % without a finding": mostly_normal,
    "40 % of one patient": one_patient,
}


@dataclass(frozen=True)
class Measurement:
    """One process: seconds of CPU time, MiB of peak resident memory, and what was drawn."""

    fit_s: float
    plan_s: float
    draw_s: float
    peak_mib: float
    growth_mib: float
    vectors: int
    relaxed: int
    over_cap: int
    draws: int

    @property
    def cpu_s(self) -> float:
        return self.fit_s + self.plan_s + self.draw_s


def table_of(pool: Pool) -> CaseTable:
    """Cases as a data set makes them, with an array of labels each."""
    cases = (
        Case(f"case-{i}", f"patient-{patient}", Path(f"{i}.nii.gz"), "A report.", labels=row.copy())
        for i, (row, patient) in enumerate(zip(*pool, strict=True))
    )
    return CaseTable(tuple(cases), CT_RATE_LABELS)


def sampler_named(name: str) -> Any:
    """The built-in sampler with its default settings."""
    component = load_plugins(only="none").catalog.get("negative_sampler", name)
    return component.load()(component.config(), None)


def that_use_labels() -> Iterator[str]:
    """Names of the built-in samplers that refuse cases without labels."""
    unlabelled = CaseTable(tuple(Case(f"{i}", f"{i}", Path("x"), "A report.") for i in range(2)))
    for component in load_plugins(only="none").catalog.all("negative_sampler"):
        if component.provider == BUILTIN:
            try:
                sampler_named(component.name).fit(unlabelled)
            except UserError:
                yield component.name


def measured(name: str, pool: str, count: int) -> Measurement:
    """Build the pool, then measure in this process."""
    cases = table_of(POOLS[pool](count, np.random.default_rng(0)))
    anchors = [cases[int(i)] for i in np.random.default_rng(1).permutation(count)[:DRAWS]]
    sampler, rng = sampler_named(name), np.random.default_rng(2)
    mines = getattr(sampler, "wants_features", False)
    features = seen_in(cases) if mines else {}
    before, clock = peak_mib(), [time.process_time()]
    sampler.fit(cases)
    clock.append(time.process_time())
    if mines:
        sampler.mine(0, features)
    sampler.refresh(0, 0)
    clock.append(time.process_time())
    for anchor in anchors:
        sampler.draw(anchor, rng)
    clock.append(time.process_time())
    peak, told = peak_mib(), sampler.summary()
    vectors = len(np.unique(cases.labels, axis=0))
    fit, plan, draw = (float(seconds) for seconds in np.diff(clock))
    relaxed, over_cap, draws = (int(told[key]) for key in ("relaxed", "over_cap", "draws"))
    return Measurement(fit, plan, draw, peak, peak - before, vectors, relaxed, over_cap, draws)


def seen_in(cases: CaseTable) -> dict[str, np.ndarray]:
    """Features as wide as the stage hands them to a sampler that mines, at random."""
    from ctfw_plugins.stages.mined import WIDTH

    rows = np.random.default_rng(3).standard_normal((len(cases), WIDTH), dtype=np.float32)
    return dict(zip((case.id for case in cases), rows, strict=True))


def in_a_process(name: str, pool: str, count: int) -> Measurement:
    command = [sys.executable, __file__, "--one", name, pool, "--cases", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measurement(**json.loads(done.stdout))


def row(name: str, pool: str, runs: list[Measurement]) -> list[str]:
    """A line of the table: medians over the runs, and the largest memory."""
    fit, plan, draw, cpu = (
        median(getattr(run, key) for run in runs) for key in ("fit_s", "plan_s", "draw_s", "cpu_s")
    )
    peak, growth = (max(getattr(run, key) for run in runs) for key in ("peak_mib", "growth_mib"))
    first = runs[0]
    shares = [f"{100 * n / first.draws:.0f} %" for n in (first.relaxed, first.over_cap)]
    kept = "yes" if cpu <= CPU_S and peak <= MIB else "NO"
    seconds = [f"{value:.2f}" for value in (fit, plan, draw, cpu)]
    memory = [f"{peak:.0f}", f"{growth:.0f}"]
    return [f"`{name}`", pool, f"{first.vectors:,}", *seconds, *memory, *shares, kept]


def page(rows: list[list[str]], runs: int, count: int) -> str:
    """The table in Markdown, with what made it."""
    from _page import machine
    from _summary import markdown

    head = ["sampler", "pool", "label vectors", "fit s", "plan s", "draws s", "all s", "peak MiB"]
    head += ["of it since fit", "distance relaxed", "cap passed", "within budget"]
    return (
        f"CPU seconds of `fit`, of the plan of one epoch (what `hard` mines included), and of "
        f"{DRAWS:,} draws, with {count:,} cases and {len(SHARES)} labels: the median of {runs} "
        "processes. Memory is the largest peak of a whole process, which holds Python, NumPy, "
        "pydantic and the cases (with their features, for `hard`) too. The "
        f"budget is {CPU_S:.0f} s and {MIB} MiB. The last columns but one say in how many draws "
        "a rule of the sampler had to give way.\n\n"
        + markdown(head, rows)
        + f"\n\n{date.today().isoformat()}, {machine()}, NumPy {np.__version__}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the table: {RESULTS.name}")
    parser.add_argument("--runs", type=int, default=5, help="processes for each row")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--one", nargs=2, metavar=("SAMPLER", "POOL"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, pool = asked.one
        print(json.dumps(asdict(measured(name, pool, asked.cases))))
        return
    rows = []
    for name in that_use_labels():
        for pool in POOLS:
            print(f"{name}: {pool}", file=sys.stderr)
            runs = [in_a_process(name, pool, asked.cases) for _ in range(asked.runs)]
            rows.append(row(name, pool, runs))
    text = page(rows, asked.runs, asked.cases)
    print(text)
    if asked.write:
        RESULTS.parent.mkdir(exist_ok=True)
        head = (
            "<!-- Made by `python benchmarks/samplers.py --write` -->\n\n# Samplers: measured\n\n"
        )
        RESULTS.write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    main()
