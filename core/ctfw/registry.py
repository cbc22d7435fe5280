"""The catalog: every component by kind and name, and what to say when there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from ctfw.component import KINDS, Component
from ctfw.errors import AmbiguousComponent, UnknownComponent, did_you_mean

BUILTIN = "ctfw"

_USE = re.compile(r"(?:(?P<provider>[A-Za-z0-9][\w.\-]*)/)?(?P<name>[^/@\s]+)(?:@(?P<rev>\d+))?\Z")


@dataclass(frozen=True, slots=True)
class Use:
    """A parsed `use:`: `name`, `provider/name`, either with `@revision`."""

    name: str
    provider: str = ""
    revision: int | None = None

    @classmethod
    def parse(cls, text: str) -> Use:
        """Raises UnknownComponent for anything else, a Python path in particular."""
        match = _USE.match(text)
        if match is None or ":" in text:
            raise UnknownComponent(
                f"'{text}' is not the name of a component: write name, provider/name or "
                "name@revision (a recipe never names Python code)"
            )
        provider = canonicalize_name(match["provider"]) if match["provider"] else ""
        return cls(match["name"], provider, int(match["rev"]) if match["rev"] else None)


def words(kind: str) -> str:
    """`negative sampler` of `negative_sampler`."""
    return kind.replace("_", " ")


class Catalog:
    """Components by kind and name; built once, then only read.

    `absent` maps a provider that could not be loaded to the reason: it is quoted when a name is
    not found, because a plugin that failed may be the one that has it.
    """

    def __init__(
        self, components: Iterable[Component] = (), absent: Mapping[str, str] | None = None
    ) -> None:
        self._absent = dict(absent or {})
        self._table: dict[str, dict[str, dict[str, Component]]] = {kind: {} for kind in KINDS}
        for component in components:
            providers = self._table[component.kind].setdefault(component.name, {})
            if component.provider in providers:
                raise ValueError(
                    f"plugin '{component.provider}' declares the {words(component.kind)} "
                    f"'{component.name}' twice"
                )
            providers[component.provider] = component

    def names(self, kind: str) -> list[str]:
        """The spellings that work in `use:`: bare where that is enough, else qualified."""
        spellings = []
        for name, providers in self._table[kind].items():
            bare = BUILTIN in providers or len(providers) == 1
            owner = BUILTIN if BUILTIN in providers else next(iter(providers))
            spellings += [
                name if bare and provider == owner else f"{provider}/{name}"
                for provider in providers
            ]
        return sorted(spellings)

    def all(self, kind: str | None = None) -> list[Component]:
        """Every component, or those of one kind, in the order of kinds, names, providers."""
        return [
            providers[provider]
            for each in ([kind] if kind else KINDS)
            for _, providers in sorted(self._table[each].items())
            for provider in sorted(providers, key=lambda p: (p != BUILTIN, p))
        ]

    def get(self, kind: str, use: str) -> Component:
        """The component that `use:` means. Raises UnknownComponent or AmbiguousComponent."""
        wanted = Use.parse(use)
        providers = self._table[kind].get(wanted.name, {})
        if wanted.provider:
            component = providers.get(wanted.provider)
        elif BUILTIN in providers:
            # A bare name of a built-in is reserved: installing an unrelated plugin that has the
            # same name must not change what a shipped recipe means.
            component = providers[BUILTIN]
        elif len(providers) > 1:
            spellings = " or ".join(f"{provider}/{wanted.name}" for provider in sorted(providers))
            raise AmbiguousComponent(
                f"{len(providers)} plugins have a {words(kind)} named '{wanted.name}': "
                f"write {spellings}"
            )
        else:
            component = next(iter(providers.values()), None)
        if component is None:
            raise UnknownComponent(self._explain(kind, wanted))
        if wanted.revision not in (None, component.revision):
            raise UnknownComponent(
                f"{words(kind)} '{component.name}' of plugin '{component.provider}' is at revision "
                f"{component.revision}, and revision {wanted.revision} is asked for: install the "
                f"version of {component.provider} that has it, or drop @{wanted.revision}"
            )
        return component

    def _explain(self, kind: str, wanted: Use) -> str:
        """Why there is no such component: close names, other kinds, plugins that failed."""
        shown = f"{wanted.provider}/{wanted.name}" if wanted.provider else wanted.name
        parts = [f"no {words(kind)} named '{shown}'"]
        known = self.names(kind)
        everywhere = {*known, *(component.name for component in self.all(kind))}
        if hint := did_you_mean(shown, everywhere) or did_you_mean(wanted.name, everywhere):
            parts.append(hint[0].upper() + hint[1:])
        else:
            others = [words(k) for k in KINDS if k != kind and wanted.name in self._table[k]]
            parts += [f"There is a {other} of that name" for other in others]
        parts.append(f"Available: {', '.join(known) or 'none'}")
        return " ".join(_sentence(part) for part in (*parts, *self._blame(wanted.provider)))

    def _blame(self, provider: str) -> list[str]:
        """Plugins whose absence could explain a missing name."""
        if not provider:
            return [f"Plugin '{name}' {reason}" for name, reason in self._absent.items()]
        if provider in self._absent:
            return [f"Plugin '{provider}' {self._absent[provider]}"]
        installed = {component.provider for component in self.all()}
        if provider in installed:
            return []
        return [f"No plugin '{provider}' is installed; if it exists: pip install {provider}"]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."
