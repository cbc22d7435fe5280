"""One process per run: two that train in one folder would write over each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctfw.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows: there the folder is not guarded
    fcntl = None  # type: ignore[assignment]


@contextmanager
def only_one(folder: Path, pid: Any = None, name: str = ".lock") -> Iterator[None]:
    """Hold the folder while working in it. Raises UserError when another process does.

    name  of the lock, where several may work in one folder on different parts

    The lock belongs to the process, so a killed one leaves none behind.
    """
    with (folder / name).open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                by = f" (process {pid})" if pid else ""
                raise UserError(
                    f"{folder} is being worked on by another ctfw{by}; wait for it, stop it, "
                    "or work in another folder"
                ) from error
        yield
