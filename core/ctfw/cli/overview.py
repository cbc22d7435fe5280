"""The first tables of `ctfw compare` and `ctfw sweep`: runs, what they differ in, their scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.cli.layout import blocks, digits_of, listed, markdown_table
from ctfw.cli.options import columns as aligned
from ctfw.runs.compare import (
    SEED,
    Outcome,
    Shown,
    by_seed,
    columns,
    copies_in_words,
    differing,
)

WIDEST = 28
_INHERITED = ("training", "generation", "metrics", "labeler")


def overview(outcomes: Sequence[Outcome], notes: Sequence[str], markdown: bool) -> list[str]:
    """What the runs differ in with their scores, means over seeds, and the signatures.

    notes  stand above the signatures
    """
    settings, scores, groups = shown_settings(outcomes), columns(outcomes), by_seed(outcomes)
    names = titles(outcomes)
    rows = [["run", *map(_header, settings), *(column.title for column in scores)]]
    texts = _texts([outcome.settings for outcome in outcomes], settings)
    for outcome, own in zip(outcomes, texts, strict=True):
        title = names[outcome.key] + _state(outcome)
        rows.append([title, *own, *(_score(outcome, column) for column in scores)])
    parts = [*_tables(rows, markdown)]
    if any(len(group.members) > 1 for group in groups):
        keys = [key for key in settings if key != SEED]
        rows = [["runs", "seeds", *map(_header, keys), *(column.title for column in scores)]]
        texts = _texts([group.settings for group in groups], keys)
        for group, own in zip(groups, texts, strict=True):
            number = len(group.members)
            means = [_mean(group.mean(column), number) for column in scores]
            rows.append([name_of(group.members), str(number), *own, *means])
        first, *more = _tables(rows, markdown)
        gap = "\n\n" if markdown else "\n"
        parts += [f"mean over seeds (standard deviation){gap}{first}", *more]
    said = [*notes, *copies_in_words(groups, names), *_signatures(scores)]
    return [*parts, listed(said, markdown)] if said else parts


def shown_settings(outcomes: Sequence[Outcome]) -> list[str]:
    """Settings that differ, each once.

    Of a block whose `use` differs, the `use` stands for the rest. Of a shared block that a stage
    has inherited, the shared one stands for both.
    """
    keys = differing(outcomes)
    swapped = [key.removesuffix("use") for key in keys if key.endswith(".use")]
    return [
        key
        for key in keys
        if (key.endswith(".use") or not any(key.startswith(prefix) for prefix in swapped))
        and not any(other.startswith(f"{key}.") for other in keys)
        and not _is_inherited(key, keys, outcomes)
    ]


def _is_inherited(key: str, keys: Sequence[str], outcomes: Sequence[Outcome]) -> bool:
    shared = ".".join(key.split(".")[2:]) if key.startswith("stages.") else ""
    return (
        shared.partition(".")[0] in _INHERITED
        and shared in keys
        and all(o.settings.get(key) == o.settings.get(shared) for o in outcomes)
    )


def titles(outcomes: Sequence[Outcome]) -> dict[tuple[Path, str], str]:
    """(folder, stage) of a run -> a name that no other one has: folder names, or the whole path."""
    plain = [outcome.title for outcome in outcomes]
    return {
        o.key: o.title if plain.count(o.title) == 1 else str(o.path / o.stage) for o in outcomes
    }


def name_of(members: Sequence[Outcome]) -> str:
    """The name that the members share, without what a sweep adds for the seed."""
    return re.sub(r"-seed=?\d+", "", members[0].name)


def _tables(rows: list[list[str]], markdown: bool) -> list[str]:
    parts = blocks(rows, gap=3 if markdown else 2)
    return [markdown_table(part) if markdown else aligned(part) for part in parts]


def _signatures(scores: Sequence[Shown]) -> list[str]:
    by_protocol: dict[str, list[str]] = {}
    for column in scores:
        by_protocol.setdefault(column.protocol, []).append(column.title)
    return [
        f"{', '.join(names)}: {protocol or 'the run has kept no signature'}"
        for protocol, names in by_protocol.items()
    ]


def _header(key: str) -> str:
    """`tune.negatives` for `stages.tune.negatives.use`."""
    return key.removeprefix("stages.").removesuffix(".use")


def _state(outcome: Outcome) -> str:
    return "" if outcome.state == "finished" else f" ({outcome.state or 'unknown'})"


def _texts(settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[list[str]]:
    """A row per run, a text per setting; other values never have the same text."""
    made = [_column([each.get(key) for each in settings]) for key in keys]
    return [[column[i] for column in made] for i in range(len(settings))]


def _column(values: Sequence[Any]) -> list[str]:
    texts = [_setting(value) for value in values]
    meant: dict[str, list[Any]] = {}
    for text, value in zip(texts, values, strict=True):
        if value not in meant.setdefault(text, []):
            meant[text].append(value)
    return [
        text if len(meant[text]) == 1 else f"{text} ({meant[text].index(value) + 1})"
        for text, value in zip(texts, values, strict=True)
    ]


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        text = ", ".join(map(str, value)) or "[]"
        return text if len(text) <= WIDEST else f"{len(value)}: {text}"[: WIDEST - 1] + "…"
    text = "none" if value is None else " ".join(str(value).split())
    text = text.removeprefix("ctfw/").removesuffix("@1")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _score(outcome: Outcome, column: Shown) -> str:
    value, low, high = outcome.value(column) or (None, None, None)
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:.3f}"
    ends = digits_of(low, high, least=2, significant=1)
    return f"{value:.{max(3, ends)}f} [{low:.{ends}f}, {high:.{ends}f}]"


def _mean(pair: tuple[float, float] | None, seeds: int) -> str:
    if pair is None:
        return "–"
    return f"{pair[0]:.3f} ({pair[1]:.3f})" if seeds > 1 else f"{pair[0]:.3f}"
