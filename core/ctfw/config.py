"""Base of every settings model, and the marks a field can carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict

Mark = TypeVar("Mark")


class Strict(BaseModel):
    """Settings of a component: unknown keys are errors, values are frozen.

    A settings model is a value. Its validators do no I/O, import nothing heavy and never look
    at the environment, so that `ctfw validate` is safe and fast.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def requires(self) -> tuple[str, ...]:
        """Packages that these values need beside those of the component, e.g. `("peft>=0.18",)`.

        Asked before a run starts, so that a missing one is told before any scan is read.
        """
        return ()


@dataclass(frozen=True, slots=True)
class Local:
    """Mark of a field that is a fact of the machine, not of the method.

    Use as `root: Annotated[Path, Local()]`. Such fields (paths, devices, worker counts) are left
    out of the recipe's hash: two machines that run one recipe get one hash.
    """


@dataclass(frozen=True, slots=True)
class MustExist:
    """Mark of a path that has to exist before a run starts; checked by the preflight only.

    Use as `root: Annotated[Path, Local(), MustExist("folder")]`. Validation does no I/O, so a
    recipe can be validated on a machine that has no data.
    """

    what: Literal["file", "folder", "file or folder"] = "file or folder"


def local_fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of the fields of `model` that are marked `Local`."""
    for name, _ in fields_with(model, Local):
        yield name


def fields_with(model: type[BaseModel], mark: type[Mark]) -> Iterator[tuple[str, Mark]]:
    """(field name, mark) for each field of `model` that carries a mark of that type.

    Marks inside `X | None`, `list[X]` and the like count: `UseLoss | None` has a slot.
    """
    for name, field in model.model_fields.items():
        for item in (*field.metadata, *_nested_marks(field.annotation)):
            if isinstance(item, mark):
                yield name, item
                break


def nested_model(annotation: Any) -> type[Strict] | None:
    """The settings model of a field that holds one, such as `Training` or `Training | None`."""
    return next(iter(nested_models(annotation)), None)


def nested_models(annotation: Any) -> tuple[type[Strict], ...]:
    """The settings models that a field may hold; several are told apart by their `use`."""
    options = (annotation, *get_args(annotation))
    return tuple(o for o in options if isinstance(o, type) and issubclass(o, Strict))


def choices(model: type[BaseModel]) -> tuple[Any, ...]:
    """The values of `use` that choose this model among several; none where it has no `use`."""
    field = model.model_fields.get("use")
    return get_args(field.annotation) if field is not None else ()


def _nested_marks(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for part in get_args(annotation):
        yield from _nested_marks(part)
