"""Several losses as one: the recipe's loss and the extra terms that a stage adds to it."""

from __future__ import annotations

from collections.abc import Sequence

from ctfw.contracts import Loss
from ctfw.errors import UserError
from ctfw.types import LossTerms, StepOutput

ALONE = "text-alone"
"""Name of the embedding of a report that was read without an image."""

EMBEDDINGS = frozenset({"image", "text", ALONE})
MARKS = frozenset({"conflicting"})


class Summed:
    """loss + the extras. A term of an extra that has a name that is taken is logged as `name.2`,
    `name.3`, ..."""

    def __init__(self, loss: Loss, extras: Sequence[Loss]) -> None:
        self._loss, self._extras = loss, tuple(extras)
        every = [loss, *extras]
        self.uses_negative = any(each.uses_negative for each in every)
        self.marks = _union(every, "marks")
        self.embeddings = _union(every, "embeddings")

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        """`loss` is logged as the sum; each part under its own names."""
        first = self._of(self._loss, positive, negative, reference, progress)
        total, terms = first.total, dict(first.terms)
        for place, extra in enumerate(self._extras, 2):
            more = self._of(extra, positive, negative, reference, progress)
            total = total + more.total
            for name, value in more.terms.items():
                terms[f"{name}.{place}" if name in terms else name] = value
        terms["loss"] = float(total.detach())
        return LossTerms(total, terms)

    @staticmethod
    def _of(
        loss: Loss,
        positive: StepOutput,
        negative: StepOutput | None,
        reference: StepOutput | None,
        progress: float,
    ) -> LossTerms:
        shown = negative if loss.uses_negative else None
        return loss(positive, shown, reference, progress=progress)


def needs(loss: Loss, kind: str) -> tuple[str, ...]:
    """The `marks` or `embeddings` that a loss names; none where it does not say."""
    return tuple(getattr(loss, kind, ()))


def summed(losses: Sequence[Loss]) -> Loss:
    """The first loss, with the others added to it."""
    return losses[0] if len(losses) == 1 else Summed(losses[0], losses[1:])


def check_known(loss: Loss, stage: str) -> None:
    """Raises UserError where a loss reads a mark or an embedding that no stage makes."""
    for kind, known in (("marks", MARKS), ("embeddings", EMBEDDINGS)):
        strange = sorted(set(needs(loss, kind)) - known)
        if strange:
            raise UserError(
                f"stages.{stage}: the loss asks for the {kind} {', '.join(strange)}; there are "
                f"{', '.join(sorted(known))}"
            )


def _union(losses: Sequence[Loss], kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in losses for name in needs(each, kind)))
