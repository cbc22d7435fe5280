"""Keep what the DICOM packages say to themselves out of logs: it quotes header values."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "jpeg_ls")
_inside = 0
_lock = threading.Lock()
_held: list[Any] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Hold warnings and log lines of the DICOM packages back.

    Several threads may be inside at once; the last to leave restores what the first found.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _hold()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _release()


def _hold() -> None:
    names = [n for n in logging.root.manager.loggerDict if n.split(".")[0] in _LOGGERS]
    loggers = [logging.getLogger(name) for name in names]
    caught = warnings.catch_warnings()
    _held[:] = [caught, [(logger, logger.disabled) for logger in loggers]]
    caught.__enter__()
    warnings.simplefilter("ignore")
    for logger in loggers:
        logger.disabled = True


def _release() -> None:
    caught, loggers = _held
    caught.__exit__(None, None, None)
    for logger, before in loggers:
        logger.disabled = before
