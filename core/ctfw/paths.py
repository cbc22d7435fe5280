"""Where ctfw keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Folder for files that can be made again: CTFW_CACHE, else the user's cache folder.

    `$CTFW_CACHE`, else `$XDG_CACHE_HOME/ctfw`, else `~/.cache/ctfw`. It is not created here.
    """
    if own := os.environ.get("CTFW_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "ctfw"
