"""The declaration of a component, and a component chosen by a recipe."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata, util
from typing import Any

from ctfw.config import Strict, local_fields
from ctfw.errors import MissingPackage, UserError

KINDS = (
    "dataset",
    "volume_loader",
    "preprocessor",
    "negative_sampler",
    "loss",
    "metric",
    "labeler",
    "backbone",
    "stage",
)

_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]*\Z")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


@dataclass(frozen=True, slots=True)
class Component:
    """What a plugin declares; nothing heavy is imported to make one.

    name      lower case, digits, hyphens and dots: `heter`, `qwen2.5-vl`
    target    `package.module:Class`, a callable `(config, context) -> object`
    config    pydantic model of its settings, a `Strict`
    summary   one line, shown by `ctfw plugins` and in the JSON Schema
    needs     requirements such as `"pydicom>=2.4"`, checked without importing them
    revision  raise it when the same settings start to mean something else
    gives     for a stage: what later stages may refer to, e.g. `("checkpoint",)`

    `kind` and `provider` are filled in by the loader, so that a plugin cannot lie about them.
    """

    name: str
    target: str
    config: type[Strict]
    summary: str
    needs: tuple[str, ...] = ()
    revision: int = 1
    gives: tuple[str, ...] = ()
    kind: str = ""
    provider: str = ""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"component name {self.name!r}: use lower case, digits, hyphens, dots")
        if not _TARGET.match(self.target):
            raise ValueError(
                f"component {self.name!r}: target {self.target!r} is not 'module:Name'"
            )
        if not (isinstance(self.config, type) and issubclass(self.config, Strict)):
            raise TypeError(f"component {self.name!r}: config must be a subclass of ctfw.Strict")

    @property
    def qualified(self) -> str:
        """`provider/name@revision`, the spelling of a resolved recipe."""
        return f"{self.provider}/{self.name}@{self.revision}"

    def missing(self) -> list[str]:
        """The requirements of this component that are not installed, in words."""
        return [problem for need in self.needs if (problem := _missing(need))]

    def load(self) -> Callable[..., Any]:
        """Import the target. Raises MissingPackage or UserError, naming the component."""
        if problems := self.missing():
            raise MissingPackage(f"{self.kind} '{self.name}' needs {'; '.join(problems)}")
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise MissingPackage(
                f"{self.kind} '{self.name}' of plugin '{self.provider}' cannot be imported: {error}"
            ) from error
        except AttributeError as error:
            raise UserError(
                f"{self.kind} '{self.name}' of plugin '{self.provider}': {module} has no "
                f"'{attribute}'; the plugin's declaration and its code disagree"
            ) from error


@dataclass(frozen=True, slots=True)
class Block:
    """A component that a recipe chose with its validated settings."""

    component: Component
    settings: Strict = field(default_factory=Strict)

    @property
    def name(self) -> str:
        return self.component.name

    def missing(self) -> list[str]:
        """What the component, or the values of its settings, need and is not installed."""
        asked = dict.fromkeys(_requirements(self.settings))
        return [*self.component.missing(), *filter(None, map(_missing, asked))]

    def plain(self) -> dict[str, Any]:
        """The block as it stands in a resolved recipe: `use` and every setting."""
        return dict(plain(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Settings models hold blocks that the resolver has already built."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


def _requirements(settings: Strict) -> Iterator[str]:
    """What the settings, and those inside them, ask for by their values."""
    yield from settings.requires()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Strict):
            yield from _requirements(value)


def plain(value: Any, *, local: bool = True) -> Any:
    """JSON-like form of a setting, blocks included; `local` keeps the fields marked `Local`."""
    if isinstance(value, Block):
        return {"use": value.component.qualified} | plain(value.settings, local=local)
    if isinstance(value, Strict):
        left_out = () if local else tuple(local_fields(type(value)))
        return {
            name: plain(getattr(value, name), local=local)
            for name in type(value).model_fields
            if name not in left_out
        }
    if isinstance(value, dict):
        return {str(key): plain(item, local=local) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, local=local) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item, local=local) for item in value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _missing(need: str) -> str:
    """Why a requirement is not met, with the pip line; empty when it is met."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(need)
    except InvalidRequirement:
        return f"'{need}', which is not a valid requirement"
    if requirement.marker and not requirement.marker.evaluate():
        return ""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if util.find_spec(requirement.name.replace("-", "_")) is not None:
            return ""  # vendored or a source checkout: importable, without metadata
        return f"'{need}', which is not installed; run: pip install '{need}'"
    if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
        return f"'{need}', but {version} is installed; run: pip install '{need}'"
    return ""
