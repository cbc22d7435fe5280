"""Plain rows and sentences for the page: the header's facts, the score table, the appendix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ctfw.page.headlines import best_floor
from ctfw.page.records import (
    Column,
    Decoding,
    Estimate,
    Reliance,
    Run,
    Table,
)
from ctfw.scoring.likelihood import IMAGES, OWN
from ctfw.scoring.table import HEADLINE

_COMPONENT = re.compile(r"(?:[\w.\-]+/)?([\w.\-]+?)(?:@\d+)?\Z")


def is_synthetic(run: Run) -> bool | None:
    """True if the recipe or any score file says so; None where neither says anything."""
    said = [run.resolved.get("synthetic")]
    said += [test.scores.synthetic for test in run.tests if test.scores]
    if True in said:
        return True
    return False if False in said else None


def facts(run: Run) -> list[tuple[str, str]]:
    """What was run and on what, as (term, description)."""
    scores = next((test.scores for test in reversed(run.tests) if test.scores), None)
    size = ""
    if scores and scores.cases is not None:
        size = f"{scores.cases} test cases"
        size += f" of {scores.patients} patients" if scores.patients is not None else ""
    rows = [
        ("Data", ", ".join(filter(None, [_used(run.resolved.get("data")), size]))),
        ("Backbone", _used(run.resolved.get("backbone"))),
        ("Stages", " → ".join(_stages(run))),
        ("Profile", Path(_plain(run.status.get("profile"))).stem),
        ("Processes", _processes(run.status.get("processes"))),
        ("Seed", _plain(run.resolved.get("seed"))),
        ("Started", _moment(run.status.get("started"))),
        ("Took", duration(run.status.get("started"), run.status.get("ended"))),
        ("Run", run.folder.name),
    ]
    return [(term, text) for term, text in rows if text]


def _processes(number: Any) -> str:
    """With how many processes the training was begun, where they made its steps larger."""
    if not isinstance(number, int) or number < 2:
        return ""
    return f"{number}: a step reads {number} × batch_size × gradient_accumulation cases"


def state_sentence(run: Run) -> str:
    """What to know when the run is not finished; empty when it is."""
    state = run.status.get("state")
    if state == "finished":
        return ""
    sentences = {
        "failed": "This run failed. The page shows what it had written until then.",
        "stopped": "This run was stopped; `ctfw resume` goes on from its last checkpoint.",
        "running": "This run was still going on when the page was made.",
    }
    return sentences.get(str(state), "It is not recorded that this run has finished.")


def error_text(run: Run) -> str:
    """What ended a failed run: a message as it was, of a traceback only the last line."""
    words = str(run.status.get("error") or "").strip()
    return words.splitlines()[-1] if words.startswith("Traceback") else words


def duration(started: Any, ended: Any) -> str:
    """`3 min 20 s` between two ISO times; empty where one is missing."""
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return span(seconds)


def span(seconds: Any) -> str:
    """A number of seconds in hours, minutes and seconds."""
    if not isinstance(seconds, (int, float)) or seconds < 0:
        return ""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def ordered_rows(table: Table) -> list[dict[str, Any]]:
    """Model first, then the model with another image, the floors and the oracle; best floors are
    marked."""
    order = {"model": 0, "reliance": 1, "floor": 2, "oracle": 3}
    best = {column.name: best_floor(table, column.name) for column in table.columns}
    return [
        {
            "row": row,
            "first": place > 0 and row.kind != previous,
            "best": {name for name, floor in best.items() if floor is row},
        }
        for place, (row, previous) in enumerate(_with_previous(table, order))
    ]


def _with_previous(table: Table, order: Mapping[str, int]) -> Iterator[tuple[Any, str]]:
    previous = ""
    for row in sorted(table.rows, key=lambda row: order.get(row.kind, 1)):
        yield row, previous
        previous = row.kind


def split_columns(table: Table) -> tuple[list[Column], list[Column]]:
    """The columns shown at once, and all of them where there are more."""
    by_name = {column.name: column for column in table.columns}
    headline = [by_name[name] for name in HEADLINE if name in by_name]
    shown = headline or list(table.columns)
    return shown, list(table.columns) if len(table.columns) > len(shown) else []


def protocols(table: Table) -> dict[str, str]:
    """Protocol signature -> footnote letter, in the order of the columns."""
    signatures = dict.fromkeys(column.protocol for column in table.columns if column.protocol)
    return {signature: _letters(place) for place, signature in enumerate(signatures)}


def _letters(place: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    head, tail = divmod(place, 26)
    return (_letters(head - 1) if head else "") + chr(ord("a") + tail)


def generation_sentences(decoding: Decoding) -> list[tuple[str, bool]]:
    """(sentence, whether it is a warning) about the written reports."""
    told: list[tuple[str, bool]] = []
    total = decoding.of
    if decoding.distinct is not None and total:
        collapsed = total > 1 and decoding.distinct <= 0.1 * total
        text = f"{decoding.distinct} distinct reports of {total}"
        told.append((text + (": the model repeats itself." if collapsed else "."), collapsed))
    counts = (
        (decoding.truncated, "cut at the length limit"),
        (decoding.empty, "empty"),
        (decoding.missing, "missing"),
        (decoding.failed, "failed"),
    )
    for count, what in counts:
        if count is not None:
            told.append((f"{count or 'None'} {what}.", count > 0))
    if decoding.top_sentence_reports is not None:
        told.append((_top_sentence(decoding, decoding.top_sentence_reports), False))
    return told


def _top_sentence(decoding: Decoding, share: float) -> str:
    text = f"The most frequent sentence stands in {share:.0%} of the reports"
    theirs = decoding.top_sentence_reports_references
    if theirs is not None:
        text += f"; the most frequent one of the references in {theirs:.0%} of those"
    said = decoding.top_sentence
    return f"{text}: “{said if len(said) <= 90 else said[:89] + '…'}”"


def likelihood_table(
    reliance: Reliance,
) -> tuple[list[str], list[tuple[str, list[Estimate | None]]]]:
    """(header, rows): per image the rise of the NLL over that under the own image, of all tokens
    and of the groups of tokens that were told apart."""
    names = [name for name in ("all", "positive", "negative") if name in reliance.groups]
    known = [*IMAGES, *(name for name in reliance.likelihood if name not in IMAGES)]
    images = [name for name in known if name != OWN and name in reliance.likelihood]
    rows: list[tuple[str, list[Estimate | None]]] = []
    for image in images:
        found = [reliance.groups[name].images.get(image) for name in names]
        cells = [each.more if each is not None else None for each in found]
        rows.append((IMAGES.get(image, image), cells if names else [reliance.likelihood[image]]))
    return [reliance.groups[name].label for name in names] or ["all tokens"], rows


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, value) of a nested mapping."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif value is not None:
            yield name, _plain(value)


def _stages(run: Run) -> list[str]:
    stages = run.resolved.get("stages")
    return [stage_title(run, str(name)) for name in stages] if isinstance(stages, Mapping) else []


def stage_title(run: Run, name: str) -> str:
    """`tune (finetune)`: the stage's name with the component that it uses."""
    stages = run.resolved.get("stages")
    used = _used(stages.get(name)) if isinstance(stages, Mapping) else ""
    return f"{name} ({used})" if used else name


def _used(block: Any) -> str:
    """Bare name of the component that a block uses, or of those one level below it."""
    if not isinstance(block, Mapping):
        return _plain(block)
    if isinstance(block.get("use"), str):
        match = _COMPONENT.match(block["use"])
        return match.group(1) if match else block["use"]
    nested = block.get("dataset", block.get("source"))
    return _used(nested) if isinstance(nested, Mapping) else ""


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return "" if value is None else str(value)


def _moment(value: Any) -> str:
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M")
    except (TypeError, ValueError):
        return ""
