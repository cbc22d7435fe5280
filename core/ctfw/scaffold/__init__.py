"""The files of a new plugin, from the templates beside this module."""

from __future__ import annotations

from pathlib import Path
from string import Template

import ctfw

KINDS = ("negative_sampler", "loss", "metric", "preprocessor", "labeler")
TEMPLATES = Path(__file__).parent / "templates"

_HOOKS = {
    "negative_sampler": "ctfw_negative_samplers",
    "loss": "ctfw_losses",
    "metric": "ctfw_metrics",
    "preprocessor": "ctfw_preprocessors",
    "labeler": "ctfw_labelers",
}


def files(name: str, kind: str) -> dict[str, str]:
    """Relative path -> text of every file of the distribution `ctfw-<name>`."""
    package = "ctfw_" + name.replace("-", "_")
    major, minor = ctfw.__version__.split(".")[:2]
    values = {
        "name": name,
        "package": package,
        "module": name.replace("-", "_"),
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "kind": kind,
        "kind_words": kind.replace("_", " "),
        "hook": _HOOKS[kind],
        "since": f"{major}.{minor}",
        "until": f"{major}.{int(minor) + 1}",
    }
    templates = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"src/{package}/__init__.py": "init.py.txt",
        f"src/{package}/configs.py": f"{kind}.configs.py.txt",
        f"src/{package}/{values['module']}.py": f"{kind}.py.txt",
        f"tests/test_{values['module']}.py": "test.py.txt",
    }
    return {
        path: Template((TEMPLATES / source).read_text(encoding="utf-8")).substitute(values)
        for path, source in templates.items()
    }
