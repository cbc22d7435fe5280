"""Which sentence made a labeler set a label; the same for every labeler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctfw.contracts import Labeler


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sentence that mentions one label.

    sentence    the sentence as it stands in the text: `text[start:end] == sentence`
    start, end  character offsets in the text that was labelled
    label       a name from the labeler's `names`
    positive    True where the finding is stated, False where it is denied (or doubted, when the
                labeler counts doubt as absence)
    """

    sentence: str
    start: int
    end: int
    label: str
    positive: bool


def evidence_of(labeler: Labeler | None, texts: Sequence[str]) -> list[tuple[Evidence, ...] | None]:
    """The evidence in each text; None for each where the labeler gives none."""
    read = getattr(labeler, "evidence", None)
    if read is None:
        return [None] * len(texts)
    found = {text: tuple(read(text)) for text in dict.fromkeys(texts)}
    return [found[text] for text in texts]
