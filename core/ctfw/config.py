"""Base of every settings model, and the marks a field can carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Settings of a component: unknown keys are errors, values are frozen.

    A settings model is a value. Its validators do no I/O, import nothing heavy and never look
    at the environment, so that `ctfw validate` is safe and fast.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True)
class Local:
    """Mark of a field that is a fact of the machine, not of the method.

    Use as `root: Annotated[Path, Local()]`. Such fields (paths, devices, worker counts) are left
    out of the recipe's hash: two machines that run one recipe get one hash.
    """


def local_fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of the fields of `model` that are marked `Local`."""
    for name, field in model.model_fields.items():
        if any(isinstance(mark, Local) for mark in field.metadata):
            yield name


def fields_with(model: type[BaseModel], mark: type[Any]) -> Iterator[tuple[str, Any]]:
    """(field name, mark) for each field of `model` that carries a mark of that type."""
    for name, field in model.model_fields.items():
        for item in field.metadata:
            if isinstance(item, mark):
                yield name, item
