"""The table of known traps, and which of them a recipe runs into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata, resources
from typing import Any, Literal

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator

from ctfw.config import Strict

Version = str
Facts = Mapping[str, Any]


class Trap(Strict):
    """A row of `traps.yaml`; its head says what the fields mean."""

    package: str
    versions: str
    level: Literal["problem", "warning", "note"]
    trap: str
    advice: str
    only: dict[str, Any] = Field(default_factory=dict)
    threads: tuple[str, ...] = ()

    @field_validator("versions")
    @classmethod
    def _known_form(cls, value: str) -> str:
        if value not in ("any", "missing"):
            try:
                SpecifierSet(value)
            except InvalidSpecifier:
                raise ValueError(f"{value!r} is no version specifier, `any` or `missing`") from None
        return value

    def catches(self, installed: Version | None, facts: Facts) -> bool:
        """Whether the installed version (None: not installed) and the facts are those it means."""
        if self.versions == "missing":
            met = installed is None
        elif installed is None:
            met = False
        else:
            specifier = "" if self.versions == "any" else self.versions
            met = SpecifierSet(specifier).contains(installed, prereleases=True)
        return met and all(_agrees(facts.get(key), value) for key, value in self.only.items())


def _agrees(fact: Any, wanted: Any) -> bool:
    """A fact, or one of several, is the wanted value, or one of the wanted values."""
    facts = fact if isinstance(fact, (set, list, tuple)) else [fact]
    values = wanted if isinstance(wanted, list) else [wanted]
    return any(each in values for each in facts)


def read_traps() -> list[Trap]:
    """The table that ctfw brings along."""
    text = (resources.files(__package__) / "traps.yaml").read_text("utf-8")
    return [Trap(**row) for row in yaml.safe_load(text)]


def installed_version(package: str) -> Version | None:
    """The version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def caught(traps: Sequence[Trap], facts: Facts) -> Iterator[tuple[Trap, Version | None]]:
    """(trap, installed version) of every trap that concerns this machine and recipe."""
    for trap in traps:
        version = installed_version(trap.package)
        if trap.catches(version, facts):
            yield trap, version
