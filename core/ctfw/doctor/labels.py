"""Whether the labels can bear scores and negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.doctor.finding import (
    Finding,
    Level,
    Rows,
    count,
    evenly,
    note,
    ok,
    percent,
    problem,
    warning,
)
from ctfw.errors import UserError

if TYPE_CHECKING:
    from ctfw.contracts import Labeler
    from ctfw.doctor.scene import Scene
    from ctfw.types import Case

READ = 500
"""Reports that the labeler reads."""
AGREEMENT = 0.9
MOST_EMPTY = 0.9
WORST = 3
_ABSENT = {"train": "nothing can be learnt about them: use more cases of that split"}


def check(scene: Scene) -> Iterator[Finding]:
    """Counts per label and split, dead labels, samplers, and the labeler against the data set."""
    names = scene.label_names
    labelled = [case for case in scene.cases if case.labels is not None]
    if not names or not labelled:
        yield note(
            "the data set has no labels",
            advice="scores then use the labels that the labeler reads off both texts",
        )
    else:
        yield from _missing(scene, len(labelled))
        yield from _counts(scene, names)
    yield from _samplers(scene)
    if names and labelled:
        yield from _against_labeler(scene, names, labelled)


def _missing(scene: Scene, labelled: int) -> Iterator[Finding]:
    without = [case.id for case in scene.cases if case.labels is None]
    if without:
        text = f"{count(len(without), 'case has', 'cases have')} no labels, {labelled:,} have"
        yield warning(text, without, "samplers and label scores need those of every case")
    wrong = [
        case.id
        for case in scene.cases
        if case.labels is not None and not np.isin(case.labels, (0, 1)).all()
    ]
    if wrong:
        text = f"{count(len(wrong), 'case has', 'cases have')} labels other than 0 and 1"
        yield problem(text, wrong, "settle uncertain and empty labels in the data settings")


def _counts(scene: Scene, names: tuple[str, ...]) -> Iterator[Finding]:
    matrices = {
        split: np.stack([np.asarray(case.labels) for case in table if case.labels is not None])
        for split, table in scene.tables.items()
        if any(case.labels is not None for case in table)
    }
    sums = {split: (matrix == 1).sum(0) for split, matrix in matrices.items()}
    sizes = {split: len(matrix) for split, matrix in matrices.items()}
    yield note(
        f"{count(len(names), 'label')}; positive cases per split",
        table=_table(names, sums, sizes),
        positives={s: dict(zip(names, found.tolist(), strict=True)) for s, found in sums.items()},
    )
    total = sum(sums.values())
    yield from _dead(scene, names, sums, sizes, np.asarray(total))
    empty = sum(int((~(matrix == 1).any(1)).sum()) for matrix in matrices.values())
    share = empty / sum(sizes.values())
    text = f"{percent(share)} of the cases have no positive label ({empty:,})"
    if not empty:
        yield note("every case has a positive label", without_positive=0)
    elif share > MOST_EMPTY:
        yield warning(text, advice="check that the label table was read as it is meant")
    else:
        yield note(text, without_positive=empty)


def _table(names: Sequence[str], sums: dict[str, np.ndarray], sizes: dict[str, int]) -> Rows:
    header = ("label", *(f"{split} ({sizes[split]:,})" for split in sums))
    rows = [(name, *(f"{found[i]:,}" for found in sums.values())) for i, name in enumerate(names)]
    return (header, *rows)


def _dead(
    scene: Scene,
    names: Sequence[str],
    sums: dict[str, np.ndarray],
    sizes: dict[str, int],
    total: np.ndarray,
) -> Iterator[Finding]:
    """Labels that never or always occur: everywhere, or in one split."""
    never = [name for name, n in zip(names, total, strict=True) if n == 0]
    if never:
        text = f"{count(len(never), 'label')} without a positive case in any split"
        advice = "macro scores leave them out; if they should occur, check the label table"
        # Phantoms plant a part of the label set on purpose.
        level: Level = "note" if scene.recipe.synthetic else "warning"
        yield Finding(level, text, tuple(never), advice)
    always = [name for name, n in zip(names, total, strict=True) if n == sum(sizes.values())]
    if always:
        text = f"{count(len(always), 'label')} positive in every case"
        yield warning(text, always, "check the label table: such a label says nothing")
    for split, found in sums.items():
        absent = [n for n, k, whole in zip(names, found, total, strict=True) if k == 0 < whole]
        if absent:
            text = f"{count(len(absent), 'label')} without a positive case in {split}"
            yield warning(text, absent, _ABSENT.get(split, "their F1 is undefined there"))


def _samplers(scene: Scene) -> Iterator[Finding]:
    """Each negative sampler of the recipe, given the training split."""
    train = scene.tables.get("train")
    if train is None:
        return
    for path, block in scene.blocks("negative_sampler"):
        try:
            scene.context.build(block).fit(train)
        except UserError as error:
            yield problem(f"{path}: {error}")
        else:
            yield ok(f"{path}: sampler '{block.name}' can draw from {count(len(train), 'case')}")


def _against_labeler(
    scene: Scene, names: tuple[str, ...], labelled: Sequence[Case]
) -> Iterator[Finding]:
    """Labels that the recipe's labeler reads off the reports, against the data set's."""
    block = next((block for _, block in scene.blocks("labeler")), None)
    if block is None:
        return
    labeler: Labeler = scene.context.build(block)
    if set(labeler.names) != set(names):
        yield note(f"labeler '{block.name}' has another label set: not compared with the data set")
        return
    chosen = evenly(labelled, READ)
    order = [tuple(labeler.names).index(name) for name in names]
    read = labeler.label([case.report for case in chosen])[:, order]
    own = np.stack([np.asarray(case.labels) for case in chosen])
    agreement = (read == own).mean(0)
    worst = sorted(zip(agreement, names, strict=True))[:WORST]
    told = [f"{name} {share:.2f}" for share, name in worst]
    whole = (
        f"labeler '{block.name}' agrees with the data set's labels in {agreement.mean():.3f} of "
        f"all cells, over {_reports(chosen)}"
    )
    values: dict[str, Any] = {"agreement": dict(zip(names, agreement.tolist(), strict=True))}
    low = int((agreement < AGREEMENT).sum())
    if agreement.min() == 1:
        yield ok(f"labeler '{block.name}' reads the data set's labels off {_reports(chosen)}")
    elif low:
        text = f"{whole}; {count(low, 'label')} below {AGREEMENT}, the lowest:"
        advice = "read some of those reports: one of the two reads them wrongly"
        yield Finding("warning", text, tuple(told), advice, values=values)
    else:
        yield note(f"{whole}; the lowest: {', '.join(told)}", **values)


def _reports(cases: Sequence[Case]) -> str:
    return count(len(cases), "report")
