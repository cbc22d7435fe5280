"""What a sampler's negatives can contradict in a report, told by its settings; light.

A loss that looks at contradicted sentences alone learns nothing from a negative that contradicts
none. Settings are all that is there when a recipe is checked, so both sides speak through theirs:
a sampler by `contradicts`, a loss by `marks`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctfw.component import Block

CONFLICTING = "conflicting"
"""The mark of report tokens that a negative contradicts."""

FINDINGS, SIDE = "findings", "side"


def contradicted(negatives: Block) -> tuple[str, ...]:
    """What these negatives make wrong: FINDINGS, SIDE or nothing; FINDINGS where the sampler does
    not say."""
    return tuple(getattr(negatives.settings, "contradicts", (FINDINGS,)))


def marks_of(losses: Sequence[Block]) -> tuple[str, ...]:
    """The marks that losses read, as far as their settings tell."""
    return tuple(mark for block in losses for mark in getattr(block.settings, "marks", ()))


def idle(negatives: Block | None, marks: Sequence[str]) -> str:
    """Why no negative would ever be trained against, in words; empty where one can be."""
    if negatives is None or CONFLICTING not in marks or contradicted(negatives):
        return ""
    return (
        f"negatives '{negatives.name}' contradict no sentence of a report, and the loss trains "
        "against contradicted sentences alone (scope: conflicting, which bound: unlikelihood has "
        "by default), so no negative would teach anything; set loss.scope to all, or take other "
        "negatives, such as {use: heter}"
    )
