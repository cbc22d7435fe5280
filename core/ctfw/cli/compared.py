"""What `ctfw compare` was given, read, grouped by seeds and compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.cli.compare import name_of
from ctfw.cli.score_file import LABELER, METRICS, read_columns
from ctfw.component import Block
from ctfw.engine.context import Context
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.alike import ANEW, Method, compare_methods, unusable
from ctfw.runs.compare import Outcome, by_seed, report_stage
from ctfw.runs.scorers import Scorer, run_scorer
from ctfw.runs.systems import Source, read_file, read_run
from ctfw.scoring.comparison import Comparison


def compared(
    paths: Sequence[Path],
    outcomes: Mapping[Path, Outcome],
    primary: Sequence[str] | None,
    alike: bool,
    columns: Sequence[str],
) -> tuple[Comparison, list[str]] | None:
    """The first of the paths against the others, with what was left out in words.

    outcomes  those of the paths that are runs; the others are files

    None, and a word on stderr, where fewer than two methods have predictions. Raises UserError.
    """
    plugins = load_plugins()
    stages = {path: report_stage(path) for path in outcomes}
    for path, stage in stages.items():
        if stage is None:
            print(f"{path} has no predictions yet and is not compared", file=sys.stderr)
    ready = [path for path in paths if stages.get(path, path) is not None]
    grouped = _grouped(ready, outcomes)
    if len(grouped) < 2:
        if len(paths) > 1:
            print("nothing to compare: these are the seeds of one method", file=sys.stderr)
        return None
    scorer = _scorer(ready, stages, plugins, needed=alike or any(p not in outcomes for p in ready))

    def source(path: Path) -> Source:
        stage = stages.get(path)
        if stage is not None:
            return read_run(stage, plugins, scorer if alike else None)
        assert scorer is not None
        return read_file(path, read_columns(columns), scorer)

    methods = [Method(n, tuple(source(p) for p in members)) for n, members in grouped.items()]
    found = compare_methods(methods, primary)
    problems = unusable(methods)
    for line in [*problems, ANEW] if problems else []:
        print(line, file=sys.stderr)
    return found


def _grouped(paths: Sequence[Path], outcomes: Mapping[Path, Outcome]) -> dict[str, list[Path]]:
    """Name -> paths of one method; the method of the first path comes first."""
    place = {id(outcomes[path]): path for path in paths if path in outcomes}
    groups = by_seed([outcomes[path] for path in paths if path in outcomes])
    members = [[place[id(member)] for member in group.members] for group in groups]
    titles = [name_of(group.members) for group in groups]
    members += [[path] for path in paths if path not in outcomes]
    titles += [path.stem for path in paths if path not in outcomes]
    full = [_full(those[0], outcomes) for those in members]
    named = {
        title if titles.count(title) == 1 else whole: those
        for title, whole, those in zip(titles, full, members, strict=True)
    }
    # Of two runs with one seed only the later is a member: then its group is the baseline's.
    first = next((n for n, those in named.items() if paths[0] in those), None)
    if first is None:
        settings = _but_seed(outcomes[paths[0]])
        first = next(
            n
            for n, those in named.items()
            if those[0] in outcomes and _but_seed(outcomes[those[0]]) == settings
        )
    return {first: named.pop(first), **named}


def _but_seed(outcome: Outcome) -> dict[str, Any]:
    return {key: value for key, value in outcome.settings.items() if key != "seed"}


def _full(path: Path, outcomes: Mapping[Path, Outcome]) -> str:
    outcome = outcomes.get(path)
    return str(path) if outcome is None else f"{outcome.name}/{outcome.path.name}"


def _scorer(
    paths: Sequence[Path], stages: Mapping[Path, Path | None], plugins: Plugins, needed: bool
) -> Scorer | None:
    """The metrics and labeler of the first run, or those of `ctfw score` where there is none."""
    if not needed:
        return None
    stage = next((stages[path] for path in paths if stages.get(path) is not None), None)
    if stage is not None:
        return run_scorer(stage, plugins)

    def built(kind: str, name: str) -> Any:
        component = plugins.catalog.get(kind, name)
        return Context().build(Block(component, component.config()))

    return Scorer({name: built("metric", name) for name in METRICS}, built("labeler", LABELER))
