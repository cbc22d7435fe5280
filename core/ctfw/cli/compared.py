"""What `ctfw compare` was given, read, grouped by seeds and compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ctfw.cli.overview import name_of, titles
from ctfw.cli.score_file import LABELER, METRICS
from ctfw.component import Block
from ctfw.engine.context import Context
from ctfw.errors import UserError
from ctfw.plugins import Plugins
from ctfw.runs.alike import Method, compare_methods, unusable
from ctfw.runs.compare import Group, Outcome, by_seed, copies_in_words, report_stage
from ctfw.runs.scorers import Scorer, run_scorer
from ctfw.runs.systems import Source, read_file, read_run
from ctfw.scoring.comparison import Comparison
from ctfw.scoring.references import read_references
from ctfw.scoring.rows import ABSENT, Row, read_rows, value_at


@dataclass(frozen=True)
class Request:
    """What was asked for besides the systems.

    primary     names of the scores to test; empty: the usual ones
    columns     our field -> the name that files have for it
    references  a file of references, for files of predictions that have none
    """

    primary: tuple[str, ...] = ()
    alike: bool = False
    columns: Mapping[str, str] | None = None
    references: Path | None = None


class Entry(NamedTuple):
    """One method: its names, the plainest first, its paths, and those that are left out."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    copies: tuple[Path, ...] = ()


def compared(
    paths: Sequence[Path], outcomes: Mapping[Path, Outcome], asked: Request, plugins: Plugins
) -> tuple[Comparison, list[str]] | None:
    """The first of the paths against the others, with what was left out in words.

    outcomes  those of the paths that are runs; the others are files

    None, and a word on stderr, where fewer than two methods have predictions. Raises UserError.
    """
    files = [path for path in paths if path not in outcomes]
    mappings = _columns(files, asked)
    stages = {path: report_stage(path) for path in outcomes}
    for path, stage in stages.items():
        if stage is None:
            print(f"{path} has no predictions yet and is not compared", file=sys.stderr)
    ready = [path for path in paths if stages.get(path, path) is not None]
    groups = by_seed([outcomes[path] for path in ready if path in outcomes])
    words = copies_in_words(groups, titles(list(outcomes.values())))
    for line in words:
        print(line, file=sys.stderr)
    grouped = _grouped(ready, outcomes, groups)
    if len(grouped) < 2:
        if len(paths) > 1 or files:
            print(_why_nothing(ready, grouped, outcomes), file=sys.stderr)
        return None
    needed = asked.alike or bool(files)
    scorer = _scorer(ready, stages, plugins) if needed else None
    cases = read_references(asked.references, asked.columns) if asked.references else None

    def source(path: Path) -> Source:
        stage = stages.get(path)
        if stage is not None:
            return read_run(stage, plugins, scorer if asked.alike else None)
        assert scorer is not None
        return read_file(path, mappings[path], scorer, cases)

    methods = [Method(n, tuple(source(p) for p in members)) for n, members in grouped.items()]
    found, notes = compare_methods(methods, asked.primary or None)
    for line in unusable(methods):
        print(line, file=sys.stderr)
    return found, words + notes


def _columns(files: Sequence[Path], asked: Request) -> dict[Path, dict[str, str]]:
    """The given names for each file; our own name where a file has that and not the given one.

    Raises UserError for an option that no file has a use for.
    """
    given = asked.columns or {}
    for option, value in (("--column", given), ("--references", asked.references)):
        if value and not files:
            raise UserError(f"{option} is for files of predictions: a run knows it by itself")
    rows = {path: read_rows(path) for path in files} if given else {}
    everywhere = [*files, *([asked.references] if asked.references else [])]
    for field, name in given.items():
        if not any(_has(rows.get(file) or read_rows(file), name) for file in everywhere):
            there = ", ".join(map(str, everywhere))
            raise UserError(f"--column {field}={name}: no column '{name}' in {there}")
    return {
        path: {
            field: name
            for field, name in given.items()
            if _has(rows[path], name) or not _has(rows[path], field)
        }
        for path in files
    }


def _has(rows: Sequence[Row], name: str) -> bool:
    return any(value_at(row, name) is not ABSENT for _, row in rows)


def _grouped(
    paths: Sequence[Path], outcomes: Mapping[Path, Outcome], groups: Sequence[Group]
) -> dict[str, tuple[Path, ...]]:
    """Name -> paths of one method; the method of the first path comes first."""
    place = {outcomes[path].key: path for path in paths if path in outcomes}
    entries = [
        Entry(
            (name_of(group.members), group.members[0].title, str(place[group.members[0].key])),
            tuple(place[member.key] for member in group.members),
            tuple(place[copy.key] for copy, _ in group.copies),
        )
        for group in groups
    ]
    entries += [Entry((p.stem, p.name, str(p)), (p,)) for p in paths if p not in outcomes]
    named = dict(zip(_unique([entry.names for entry in entries]), entries, strict=True))
    ordered = sorted(named, key=lambda n: paths[0] not in (*named[n].paths, *named[n].copies))
    return {name: named[name].paths for name in ordered}


def _unique(names: Sequence[Sequence[str]]) -> list[str]:
    """Of each the plainest name that no other one has; the last ones are paths, so there is one."""
    depth = [0] * len(names)
    while True:
        now = [those[d] for those, d in zip(names, depth, strict=True)]
        deeper = [
            i for i, name in enumerate(now) if now.count(name) > 1 and depth[i] + 1 < len(names[i])
        ]
        if not deeper:
            return now
        for i in deeper:
            depth[i] += 1


def _why_nothing(
    ready: Sequence[Path], grouped: Mapping[str, Sequence[Path]], outcomes: Mapping[Path, Outcome]
) -> str:
    """Why there are not two methods, in words that are true of what was given."""
    if len(ready) < 2:
        if not ready:
            return "nothing to compare: none of these has predictions"
        if ready[0] not in outcomes:
            return f"nothing to compare {ready[0]} with: name a second run or another file"
        return f"nothing to compare: only {ready[0]} has predictions"
    (members,) = grouped.values()
    if len(members) > 1:
        return "nothing to compare: these are the seeds of one method"
    return "nothing to compare: these are runs of one recipe with one seed"


def _scorer(paths: Sequence[Path], stages: Mapping[Path, Path | None], plugins: Plugins) -> Scorer:
    """The metrics and labeler of the first run, or those of `ctfw score` where there is none."""
    stage = next((stages[path] for path in paths if stages.get(path) is not None), None)
    if stage is not None:
        return run_scorer(stage, plugins)

    def built(kind: str, name: str) -> Any:
        component = plugins.catalog.get(kind, name)
        return Context().build(Block(component, component.config()))

    return Scorer({name: built("metric", name) for name in METRICS}, built("labeler", LABELER))
