"""ctfw: train chest-CT report generators that look at the scan, and prove that they do."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctfw.component import Component as Component
    from ctfw.config import Local as Local
    from ctfw.config import MustExist as MustExist
    from ctfw.config import Strict as Strict
    from ctfw.errors import UserError as UserError
    from ctfw.hooks import hookimpl as hookimpl
    from ctfw.plugins import load_plugins as load_plugins
    from ctfw.types import Case as Case
    from ctfw.types import CaseTable as CaseTable
    from ctfw.types import LossTerms as LossTerms
    from ctfw.types import Negative as Negative
    from ctfw.types import Prediction as Prediction
    from ctfw.types import Scores as Scores
    from ctfw.types import StepOutput as StepOutput
    from ctfw.types import Volume as Volume

__version__ = "0.1.0"

_HOME = {
    "Component": "ctfw.component",
    "Local": "ctfw.config",
    "MustExist": "ctfw.config",
    "Strict": "ctfw.config",
    "UserError": "ctfw.errors",
    "hookimpl": "ctfw.hooks",
    "load_plugins": "ctfw.plugins",
} | dict.fromkeys(
    (
        "Case",
        "CaseTable",
        "LossTerms",
        "Negative",
        "Prediction",
        "Scores",
        "StepOutput",
        "Volume",
    ),
    "ctfw.types",
)

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    # PEP 562: `import ctfw` costs nothing, so that `ctfw --help` stays instant.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'ctfw' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
