"""What each negative sampler and each bound does to grounded gain and macro-F1, over seeds.

    python benchmarks/negatives.py --runs study            # trains what is missing, then the table
    python benchmarks/negatives.py --runs study --table    # the table of what is finished
    python benchmarks/negatives.py --runs study --write    # keeps table and curves in the docs

It runs the variants of recipes/ablations/negatives.yaml, one process and one thread at a time. The
vision warm-up is the same for all variants of a seed, so it is trained once per seed, by the
variant `origin`, and the others start from it. Killed runs are taken up again, finished ones kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from _negatives_page import FIRST, Result, finished, page, put_into

from ctfw.engine.launch import create, find_runs
from ctfw.engine.run import run_recipe
from ctfw.plugins import load_plugins
from ctfw.recipe import Variant, expand

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "ablations" / "negatives.yaml"
PAGE = ROOT / "docs" / "explanation" / "negative_losses.md"
CURVES = ROOT / "docs" / "images" / "negatives.png"


def order() -> list[str]:
    """The names of the variants, as the recipe has them."""
    matrix = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["matrix"]
    return list(matrix["pair"])


def warm_up(runs: Path, seed: int) -> Path | None:
    """The finished warm-up of a seed: the stage `see` of its first variant."""
    for result in finished(runs):
        see = result.folder / "stages" / "see"
        if (result.variant, result.seed) == (FIRST, seed) and (see / "done.json").is_file():
            return see
    return None


def variant(name: str, seed: int, runs: Path) -> Variant:
    """One variant of a seed; all but the first start from the first one's warm-up."""
    overrides = [f"seed={seed}"]
    if name != FIRST:
        overrides += ["stages.see=null", f"stages.tune.start_from={warm_up(runs, seed)}"]
    plugins = load_plugins(only="none")
    every = expand(RECIPE, overrides, None, plugins)
    return next(each for each in every if each.labels["pair"] == name)


def train(name: str, seed: int, runs: Path) -> None:
    """Run one variant in this process, or take it up again."""
    recipe = variant(name, seed, runs).recipe
    earlier = find_runs(runs, recipe.hash)
    run_recipe(recipe, load_plugins(only="none"), earlier[0] if earlier else create(recipe, runs))


def train_missing(names: Sequence[str], seeds: Sequence[int], runs: Path) -> None:
    """Each variant with all seeds, then the next, so that rows are whole when it is stopped."""
    for name in names:
        for seed in seeds:
            if (name, seed) in {(each.variant, each.seed) for each in finished(runs)}:
                continue
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--runs", str(runs), "--one", name, str(seed)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "CTFW_PLUGINS": "none"}
            subprocess.run(command, env=environment, check=True)


def write(results: Sequence[Result]) -> None:
    """The table in the page, and its curves beside it."""
    from _negatives_figure import draw

    put_into(PAGE, page(results, order()))
    draw(CURVES, results, order())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("study"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="these variants, in this order")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}; train nothing")
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "SEED"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    runs = asked.runs.resolve()
    if asked.one:
        train(asked.one[0], int(asked.one[1]), runs)
        return
    if not (asked.table or asked.write):
        names = dict.fromkeys([FIRST, *(asked.only or order())])
        train_missing(list(names), asked.seeds, runs)
    print(page(finished(runs), order()))
    if asked.write:
        write(finished(runs))


if __name__ == "__main__":
    main()
