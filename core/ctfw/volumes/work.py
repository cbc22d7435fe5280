"""One volume through the chain in a worker process; light, because workers come by the dozen."""

from __future__ import annotations

import ctypes
import os
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ctfw.errors import CannotWrite, UserError
from ctfw.types import Case
from ctfw.volumes.pipeline import VolumePipeline

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BYTES = 32 << 20

State = Literal["made", "found", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one volume.

    state   "made", "found" (it was there already), "refused" (the scan is at fault) or "failed"
            (the disk or the process is, so that another try may help)
    bytes   what its entries take on disk, where the stores say
    stamp   size and time of the source, to know it again
    """

    case: str
    key: str
    state: State
    reason: str = ""
    seconds: float = 0.0
    bytes: int = 0
    stamp: str = ""


def prepare_one(
    pipeline: VolumePipeline, case: Case, key: str, every: bool = False, marks: Path | None = None
) -> Row:
    """Fill the stores for one case. Never raises: whatever goes wrong is in the row.

    every  also stores whose entry is not needed, because a later one has it
    marks  a folder in which a file stands while the volume is worked on, so that a process that
           dies leaves word of what it died of
    """
    _keep_freed_memory()
    start = time.monotonic()
    mark = None if marks is None else marks / key
    stamped = stamp(case.image)
    try:
        if mark is not None:
            mark.write_text(str(os.getpid()), encoding="utf-8")
        if pipeline.stored(case.image, case, every):
            return Row(case.id, key, "found", stamp=stamped)
        pipeline.prepare(case.image, case, every)
        size = pipeline.size(case.image, case)
        took = round(time.monotonic() - start, 3)
        return Row(case.id, key, "made", seconds=took, bytes=size, stamp=stamped)
    except CannotWrite as error:
        return Row(case.id, key, "failed", str(error), stamp=stamped)
    except UserError as error:
        return Row(case.id, key, "refused", str(error), stamp=stamped)
    except MemoryError:
        return Row(case.id, key, "failed", f"{case.image}: out of memory", stamp=stamped)
    except Exception as error:
        return Row(case.id, key, "refused", _crash(case.image, error), stamp=stamped)
    finally:
        if mark is not None:
            with suppress(OSError):
                mark.unlink()


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what was freed: else it gives every few slices back to the system and takes
    them again, and the page faults cost a tenth of the time. Once per process."""
    with suppress(OSError, AttributeError, TypeError):  # another C library has no mallopt
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        adjust(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def stamp(path: Path) -> str:
    """Size and time of a file, or of a folder's entry."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _crash(path: Path, error: Exception) -> str:
    """Where it happened; not the text, which may quote a header."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{path}: {type(error).__name__} at {where}: a fault of the code that read it, report it"
