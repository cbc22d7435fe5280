"""`ctfw audit`: how much a trained model uses its image."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ctfw.cli.options import Set, columns
from ctfw.cli.scores import print_facts
from ctfw.plugins import load_plugins

GROUPS = {
    "all": "all tokens",
    "positive": "stating a finding",
    "negative": "only denying",
    "sided": "naming one side",
    "side-words": "left and right",
}


def audit(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, stage or run folder.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="RECIPE|PROFILE",
            help="Which scans, reports, labeler and metrics; default: those of the checkpoint's "
            "run.",
        ),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option("--split", help="Which cases.")
    ] = "test",
    cases: Annotated[
        int | None, typer.Option("--cases", metavar="N", min=2, help="Only the first N cases.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where everything goes; default: audits/ in the run."
        ),
    ] = None,
    generate: Annotated[
        bool,
        typer.Option(
            "--generate", help="Write reports with all images, not only own and another's."
        ),
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="End with exit code 2, e.g. 'grounded_gain < 0.1'; may be repeated.",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", metavar="N", min=100, help="Patients drawn so often.")
    ] = 2000,
    overrides: Set = None,
) -> None:
    """Replace a model's image and measure what that changes.

    The references are read, and reports written, with the own image, another patient's, noise, a
    blank one, shuffled slices, and left and right exchanged. Start it again after a kill: it goes
    on where it stopped.
    """
    from ctfw.engine.audit import Audit, Wish
    from ctfw.engine.audit_data import data_recipe, run_of
    from ctfw.engine.run import quiet_libraries
    from ctfw.engine.scan import unpack
    from ctfw.scoring.conditions import ConditionMet, parse_all

    conditions = tuple(parse_all(fail_if or [], "--fail-if"))
    plugins = load_plugins()
    packed = unpack(checkpoint, plugins)
    recipe = data_recipe(data, packed.folder, overrides or [], plugins)
    wish = Wish(split, cases, generate, resamples, conditions)
    job = Audit(packed, recipe, wish, plugins)
    run = run_of(packed.folder)
    name = str(packed.facts.get("recipe") or "model")
    folder = out or (run / "audits" if run else Path("audits") / name) / f"{split}-{job.digest}"
    print(f"audit of {packed.folder}, {split} split of {recipe.name}", file=sys.stderr)
    print(f"audit folder: {folder}", file=sys.stderr)
    quiet_libraries()
    facts = job.run(folder)
    print_facts(facts, name)
    print("\n" + image_table(facts))
    print(f"page: {folder / 'audit.html'}")
    if facts["failed"]:
        raise ConditionMet("\n".join(f"--fail-if {reason}" for reason in facts["failed"]))


def image_table(facts: Mapping[str, Any]) -> str:
    """One line per image: distinct reports, and NLL per token by group of tokens."""
    from ctfw.scoring.likelihood import IMAGES, OWN

    found = facts["reliance"]["groups"]
    groups = [name for name in GROUPS if name in found]
    rows = [["image", "distinct reports", *(GROUPS[name] for name in groups)]]
    for image, words in IMAGES.items():
        written = facts["by_image"].get(image)
        row = [words, f"{written['distinct']} of {written['of']}" if written else "–"]
        for name in groups:
            told = found[name]["images"].get(image)
            value = told and told["nll" if image == OWN else "more"]["value"]
            sign = "" if image == OWN else "+"
            row.append("–" if value is None else f"{value:{sign}.3f}")
        rows.append(row)
    head = (
        "likelihood of the reference, nats per token: own image, then what is added by the others"
    )
    return f"{head}\n{columns(rows)}"
