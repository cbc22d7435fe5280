"""`ctfw show`: a recipe or a run with every default, or its difference to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ctfw.cli.options import Profile, Set
from ctfw.errors import UserError
from ctfw.recipe import dump, resolve
from ctfw.recipe.load import read

ABSENT = "(absent)"


def show(
    target: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or a run folder.")],
    diff: Annotated[
        str | None,
        typer.Option("--diff", metavar="OTHER", help="Print what differs, as a Markdown table."),
    ] = None,
    overrides: Set = None,
    profile: Profile = None,
) -> None:
    """Print a recipe with every default filled in, as a recipe that can be run."""
    mine = settings_of(target, overrides or [], profile)
    if diff is None:
        print(dump(mine), end="")
        return
    theirs = settings_of(diff, [], profile)
    rows = differences(mine, theirs)
    if not rows:
        print(f"{target} and {diff} resolve to the same settings", file=sys.stderr)
        return
    print(f"| setting | {target} | {diff} |\n|---|---|---|")
    for path, left, right in rows:
        print(f"| `{path}` | {_cell(left)} | {_cell(right)} |")


def settings_of(target: str, overrides: Sequence[str], profile: str | None) -> dict[str, Any]:
    """Plain settings of a recipe, or of a run folder as it was started."""
    folder = Path(target).expanduser()
    if not folder.is_dir():
        recipe = resolve(target, overrides, profile)
        if recipe.is_sweep:
            print(f"{target} is a sweep; shown without its matrix", file=sys.stderr)
        return recipe.plain()
    resolved = folder / "resolved.yaml"
    if not resolved.is_file():
        raise UserError(f"{folder} is not a run: it has no resolved.yaml")
    if overrides:
        raise UserError(f"{folder} is a run: --set changes recipes only")
    if line := pip_line(folder / "lock.json"):
        print(f"made with: {line}", file=sys.stderr)
    plain: dict[str, Any] = read(resolved)[0].plain()
    return plain


def pip_line(lock: Path) -> str:
    """The command that installs what a run was made with; empty without a lock file."""
    if not lock.is_file():
        return ""
    facts = json.loads(lock.read_text(encoding="utf-8"))
    versions = {"ctfw": facts.get("ctfw"), **facts.get("plugins", {})}
    wanted = [f"{name}=={version}" if version else name for name, version in versions.items()]
    return " ".join(["pip install", *wanted])


def differences(left: Any, right: Any) -> list[tuple[str, Any, Any]]:
    """(dotted path, value of left, value of right) of every setting that is not the same."""
    mine, theirs = dict(_flat(left, "")), dict(_flat(right, ""))
    return [
        (path, mine.get(path, ABSENT), theirs.get(path, ABSENT))
        for path in dict.fromkeys([*mine, *theirs])
        if mine.get(path, ABSENT) != theirs.get(path, ABSENT)
    ]


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [x for k, v in value.items() for x in _flat(v, f"{path}.{k}" if path else k)]
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return [x for i, v in enumerate(value) for x in _flat(v, f"{path}.{i}")]
    return [(path, value)]


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else dump(value).strip().removesuffix("\n...")
    return text.replace("|", "\\|").replace("\n", " ")
