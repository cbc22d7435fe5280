"""The checks, in the order in which they are told, and how they are run.

A check is a function `(scene) -> findings` in a module of its own. One that fails is itself a
finding: the others go on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.doctor.finding import Finding, problem, warning
from ctfw.doctor.scene import SPLITS, Scene, where
from ctfw.errors import UserError
from ctfw.types import CaseTable

if TYPE_CHECKING:
    from ctfw.plugins import Plugins
    from ctfw.recipe import ResolvedRecipe

DATA = "Data"


@dataclass(frozen=True, slots=True)
class Check:
    """A heading and the function below it; `cases` where there must be cases to look at."""

    subject: str
    target: str
    cases: bool = True


CHECKS = (
    Check("Recipe", "ctfw.doctor.stages:check", cases=False),
    Check("Files", "ctfw.doctor.files:check"),
    Check("Splits", "ctfw.doctor.splits:check"),
    Check("Duplicates", "ctfw.doctor.duplicates:check"),
    Check("Reports", "ctfw.doctor.texts:check"),
    Check("Labels", "ctfw.doctor.labels:check"),
    Check("Geometry", "ctfw.doctor.geometry:check"),
    Check("Lengths", "ctfw.doctor.lengths:check"),
    Check("Steps", "ctfw.doctor.steps:check"),
    Check("Memory", "ctfw.doctor.memory:check"),
    Check("Disk", "ctfw.doctor.disk:check"),
    Check("Packages", "ctfw.doctor.packages:check", cases=False),
    Check("Earlier runs", "ctfw.doctor.earlier:check", cases=False),
)


def examine(
    recipe: ResolvedRecipe,
    plugins: Plugins,
    *,
    scans: int = 2000,
    runs: Path = Path("runs"),
    processes: int = 1,
) -> list[Finding]:
    """Everything that there is to say about a valid recipe on this machine.

    scans      most headers read per split; 0 reads all
    runs       where the folders of runs are made
    processes  that will train

    Prepares the data set, and puts one scan through the preprocessing. Raises nothing that a
    check or the data set may raise: those become findings.
    """
    from ctfw.engine.context import Context

    context = Context(seed=recipe.seed, synthetic=recipe.synthetic)
    scene = Scene(recipe, plugins, context, scans, runs, processes)
    findings = list(_open(scene))
    for check in CHECKS:
        if scene.tables or not check.cases:
            findings += [replace(found, subject=check.subject) for found in _guarded(check, scene)]
    return _once(findings)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """Without a problem that was told before: what several checks need may fail for all of them."""
    problems: set[str] = set()
    kept = []
    for found in findings:
        if found.level != "problem" or found.text not in problems:
            kept.append(found)
        if found.level == "problem":
            problems.add(found.text)
    return kept


def _open(scene: Scene) -> Iterator[Finding]:
    """Build the data set and the preprocessing; what is wrong with them."""
    for part in (_open_dataset, _open_pipeline):
        try:
            found = list(part(scene))
        except Exception as error:
            found = [_said(error)]
        yield from (replace(each, subject=DATA) for each in found)


def _open_dataset(scene: Scene) -> Iterator[Finding]:
    dataset = scene.context.build(scene.recipe.data)
    dataset.prepare()
    scene.dataset = dataset
    for split in SPLITS:
        try:
            table = dataset.cases(split)
        except UserError as error:
            yield problem(str(error))
            continue
        if len(table):
            # A data set need not say the split once more in each case; the checks ask there.
            cases = (case if case.split == split else replace(case, split=split) for case in table)
            scene.tables[split] = CaseTable(tuple(cases), table.label_names)
        else:
            advice = f"a run needs all of {', '.join(SPLITS)}"
            yield problem(f"the {split} split has no cases", advice=advice)


def _open_pipeline(scene: Scene) -> Iterable[Finding]:
    from ctfw.engine.bench import make_pipeline

    settings: Any = scene.recipe.data.settings
    catalog, steps = scene.plugins.catalog, list(settings.preprocess)
    scene.pipeline = make_pipeline(catalog, settings.loader, steps, scene.context)
    return ()


def _guarded(check: Check, scene: Scene) -> list[Finding]:
    """The findings of a check, up to the point where it fails."""
    found: list[Finding] = []
    try:
        module, _, name = check.target.partition(":")
        for each in getattr(importlib.import_module(module), name)(scene):
            found.append(each)
    except Exception as error:
        found.append(_said(error))
    return found


def _said(error: Exception) -> Finding:
    """What a user can mend is a problem; a crash leaves the matter open."""
    if isinstance(error, UserError):
        return problem(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return problem(f"{error.filename}: {error.strerror}", advice="a run would end there too")
    return warning(
        f"could not be checked: {where(error)}: {error}",
        advice="the other checks went on; please report this one",
    )
