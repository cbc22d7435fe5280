"""Fixtures that more than one part of the suite uses."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ctfw.plugins import Plugins, load_plugins

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # importlib mode does not; it holds no tests


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images and golden values; skips where it is absent."""
    folder = Path(os.environ.get("CTFW_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set CTFW_REAL_DATA to the folder that has it")
    return folder


FAKES = ROOT / "tests" / "distributions"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make distributions of `tests/distributions` look installed, before the real ones."""
    modules = set(sys.modules)

    def put(*names: str) -> None:
        for name in names:
            monkeypatch.syspath_prepend(str(FAKES / name))

    yield put
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(FAKES)):
            del sys.modules[name]


@pytest.fixture
def fake_plugins(install: Callable[..., None]) -> Plugins:
    """A catalog of small stand-ins for the built-ins, for tests about recipes."""
    install("builtin")
    return load_plugins(discover=False, extra={"ctfw": importlib.import_module("fake_builtin")})


@pytest.fixture
def chat_server() -> Iterator[Callable[..., Any]]:
    """`chat_server(answer)`: a running stand-in of a language model's server, closed afterwards."""
    from chat_server import ChatServer

    with ExitStack() as running:
        yield lambda answer: running.enter_context(ChatServer(answer))
