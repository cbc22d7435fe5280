"""Fixtures that more than one part of the suite uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images and golden values; skips where it is absent."""
    folder = Path(os.environ.get("CTFW_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set CTFW_REAL_DATA to the folder that has it")
    return folder
