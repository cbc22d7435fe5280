"""Which process of a job failed first: it alone speaks, and the run's status repeats its words.

When one of several processes ends, the others fail too, on the connection to it. Who is first to
make the file of the job in the run's folder is the one to listen to.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = ".fault-"


@dataclass(frozen=True)
class Fault:
    """Who failed, how the run's status should put it, and the exit code of every process."""

    rank: int
    state: str
    words: str
    code: int


def first(run: Path, job: str, own: Fault) -> Fault:
    """The fault that came first in this job: the process's own, if no other has told of one."""
    file = run / f"{_NAME}{job}"
    mine = run / f"{_NAME}{job}.{own.rank}"
    try:
        mine.write_text(json.dumps(asdict(own)), encoding="utf-8")
        os.link(mine, file)  # whole from the first moment: others may read it at once
    except FileExistsError:
        with suppress(OSError, ValueError, TypeError):
            return Fault(**json.loads(file.read_text(encoding="utf-8")))
    except OSError:  # a full disk, or one without links: better told twice than not at all
        pass
    finally:
        with suppress(OSError):
            mine.unlink()
    return own


def forget(run: Path, but: str = "") -> None:
    """Remove what earlier jobs left."""
    for file in run.glob(f"{_NAME}*"):
        if file.name != f"{_NAME}{but}":
            with suppress(OSError):
                os.unlink(file)
