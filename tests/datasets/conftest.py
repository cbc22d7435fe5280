"""A small phantom data set that the tests of this folder share; nobody changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantom import Phantom


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantoms")


@pytest.fixture(scope="session")
def phantoms(phantom_root: Path) -> Phantom:
    """24 training, 6 validation and 8 test studies with voxels of 5 mm."""
    config = PhantomConfig(
        root=phantom_root, train=24, validation=6, test=8, spacing_mm=5, workers=1
    )
    dataset = Phantom(config)
    dataset.prepare()
    return dataset
