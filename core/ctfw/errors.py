"""What a user can fix, as exceptions.

Every message says what is wrong, where, and what to do. The command line prints them
without a traceback and ends with exit code 2; anything else that escapes is a crash (1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DEEPSPEED = "DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed"
"""The line that installs DeepSpeed, whose set-up wants the torch that is there."""


class UserError(Exception):
    """Base of everything that the person at the keyboard can mend."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a recipe: `file:line:column: message (hint)`."""

    message: str
    mark: Mark | None = None
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.mark}: " if self.mark else ""
        return f"{place}{self.message}" + (f" ({self.hint})" if self.hint else "")


class RecipeInvalid(UserError):
    """A recipe that cannot run; holds every problem found, sorted by place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(
            problems,
            key=lambda p: (p.mark is None, p.mark and (p.mark.file, p.mark.line, p.mark.column)),
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownComponent(UserError):
    """A `use:` that no installed plugin provides."""


class AmbiguousComponent(UserError):
    """Two third parties provide the same bare name."""


class MissingPackage(UserError):
    """A component needs a Python package that is not installed."""


class NotCT(UserError):
    """A file that can be read and is not a chest CT in a usable state."""


class UnreadableVolume(UserError):
    """A file or folder that no volume loader can turn into a volume."""


class CannotWrite(UserError):
    """A file that cannot be written: a full disk, a folder that is read-only."""


class BadData(UserError):
    """A data set whose files, tables or texts do not fit together."""


class BadCheckpoint(UserError):
    """A checkpoint folder that is incomplete, or of another architecture."""


class Diverged(UserError):
    """A loss or gradients that are no numbers: to go on from a checkpoint would repeat them."""


class WrongProcesses(UserError):
    """More or fewer processes than a run can go on with; the message has the command that does."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'heter'?` when one of `known` is close to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""
