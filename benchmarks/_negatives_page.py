"""The table of docs/explanation/negative_losses.md, from the finished runs of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from _page import machine
from _summary import markdown
from scipy.stats import t as student

from ctfw.plugins import load_plugins
from ctfw.runs.alike import Method, compare_methods
from ctfw.runs.files import read_json, read_lines
from ctfw.runs.systems import read_run
from ctfw.scoring.comparison import Compared, Comparison, Contrast
from ctfw.scoring.seeds import SeedMean

FIRST = "origin"
# The shipped recipes are variants too, under names of their own.
NAMES = {"ours-heter": "heter", "ours-gauss": "gauss"}
LAST = 0.25
"""Share of the steps, at the end, over which the share at the bound is taken."""
MARKS = (
    "<!-- Made by `python benchmarks/negatives.py --write` -->",
    "<!-- Made by the command above, to here -->",
)


@dataclass(frozen=True)
class Result:
    """One finished run: `numbers` are those of the table, `steps` the lines of steps.jsonl."""

    variant: str
    seed: int
    folder: Path
    numbers: dict[str, float]
    steps: list[dict[str, Any]]


def finished(runs: Path) -> list[Result]:
    """Every finished run below a folder."""
    found = []
    for status in sorted(runs.glob("*/*/status.json")):
        folder, told = status.parent, read_json(status)
        if told.get("state") == "finished":
            name = str(told["name"])
            recipe = yaml.safe_load((folder / "resolved.yaml").read_text(encoding="utf-8"))
            steps = read_lines(folder / "stages" / "tune" / "steps.jsonl")
            numbers = _numbers(folder, steps)
            name = NAMES.get(name, name.removeprefix("negatives-"))
            found.append(Result(name, int(recipe.get("seed", 0)), folder, numbers, steps))
    return found


def _numbers(folder: Path, steps: list[dict[str, Any]]) -> dict[str, float]:
    done = read_json(folder / "stages" / "test" / "done.json")["numbers"]
    trained = [line for line in steps if "loss" in line]
    last = trained[-max(1, int(LAST * len(trained))) :]
    bound = [line["at_bound"] for line in last if "at_bound" in line]
    own = [line["validation"]["positive"] for line in steps if "validation" in line]
    return {
        **{key: float(value) for key, value in done.items()},
        "nll": min(own),
        "at_bound": float(np.mean(bound)) if bound else float("nan"),
    }


def by_variant(results: Sequence[Result]) -> dict[str, dict[int, Result]]:
    """Variant -> seed -> run."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        found.setdefault(result.variant, {})[result.seed] = result
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the 95 % interval of Student's t over seeds; NaN for one seed."""
    rows = np.asarray(values)
    if len(rows) < 2:
        return float(rows.mean()), float("nan")
    half = student.ppf(0.975, len(rows) - 1) * rows.std(ddof=1) / np.sqrt(len(rows))
    return float(rows.mean()), float(half)


def page(results: Sequence[Result], order: Sequence[str]) -> str:
    """The table with what made it, in Markdown."""
    rows = by_variant(results)
    shown = [name for name in order if name in rows]
    comparison = _compared(rows, shown)
    head = ["variant", "seeds", "macro-F1", "grounded gain", "gain minus origin's", "seed by seed"]
    head += ["p", "likelihood reliance", "NLL, own image", "at the bound"]
    table = markdown(head, [_row(system, rows) for system in comparison.systems])
    return (
        f"{table}\n\n{_floors(results)}\n\n"
        "Brackets are 95 % intervals that hold the variance between seeds and between patients, "
        f"as `ctfw compare` makes them, and p is of their difference, adjusted (Holm) for the "
        f"{comparison.tests} differences of the comparison. *Seed by seed* is the mean of the "
        "differences between runs of one seed, which share their vision warm-up, ± half the 95 % "
        "interval of Student's t; it says how steady the difference is on these test cases, and "
        "nothing of other patients. The last column is over the last quarter of the steps. "
        f"{date.today().isoformat()}, {machine()}."
    )


def _compared(rows: dict[str, dict[int, Result]], shown: Sequence[str]) -> Comparison:
    """The first variant against each other one, over seeds and patients."""
    plugins = load_plugins(only="none")
    methods = [
        Method(
            name,
            tuple(read_run(run.folder / "stages" / "test", plugins) for run in rows[name].values()),
        )
        for name in shown
    ]
    return compare_methods(methods, ["macro-f1", "grounded-gain"])[0]


def _row(system: Compared, rows: dict[str, dict[int, Result]]) -> list[str]:
    mine, first = rows[system.name], rows[FIRST]
    differences = [
        mine[seed].numbers["grounded_gain"] - first[seed].numbers["grounded_gain"]
        for seed in sorted(set(mine) & set(first))
    ]
    bound = float(np.mean([each.numbers["at_bound"] for each in mine.values()]))
    means = {
        key: float(np.mean([each.numbers[key] for each in mine.values()]))
        for key in ("likelihood_reliance", "nll")
    }
    contrast = system.contrasts.get("grounded-gain")
    return [
        f"`{system.name}`",
        str(len(mine)),
        _spanned(system.means["macro-f1"]),
        _spanned(system.means["grounded-gain"]),
        "–" if contrast is None else _spanned(contrast, "+"),
        "–" if contrast is None else _text(differences),
        "–" if contrast is None else f"{contrast.p:.3f} ({contrast.holm:.3f})",
        f"{means['likelihood_reliance']:.2f}",
        f"{means['nll']:.3f}",
        "–" if np.isnan(bound) else f"{100 * bound:.0f} %",
    ]


def _spanned(found: SeedMean | Contrast, sign: str = "") -> str:
    return f"{found.value:{sign}.3f} [{found.low:.2f}, {found.high:.2f}]"


def _text(values: Sequence[float]) -> str:
    mean, half = interval(values)
    return f"{mean:+.3f}" if np.isnan(half) else f"{mean:+.3f} ± {half:.3f}"


def _floors(results: Sequence[Result]) -> str:
    """The best macro-F1 that needs no image."""
    scores = read_json(results[0].folder / "stages" / "test" / "scores.json")
    floors = {
        row["label"]: row["values"]["macro-f1"]["value"]
        for row in scores["table"]["rows"]
        if row["kind"] == "floor" and row["values"].get("macro-f1")
    }
    best = max(floors, key=lambda label: floors[label])
    return (
        f"The best floor on the same {scores['cases']} cases of {scores['patients']} patients: "
        f"macro-F1 {floors[best]:.3f} ({best}); a grounded gain of 0 is no use of the image."
    )


def put_into(file: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, begin, rest = file.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise SystemExit(f"{file} has no place for the table: {MARKS[0]} ... {MARKS[1]}")
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
