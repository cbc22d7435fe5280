"""Finding plugins: every installed distribution with an entry point in the group `ctfw.v1`.

Nothing is kept at module level: `load_plugins()` returns a value. A plugin that is broken,
misspelt, made for another API version or slow is named in the reports and never stops a recipe
that does not use it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pluggy
from packaging.utils import canonicalize_name

from ctfw.component import Component
from ctfw.errors import did_you_mean
from ctfw.hooks import API_VERSION, DECLARES, GROUP, new_manager
from ctfw.registry import BUILTIN, Catalog, words

HEAVY = ("torch", "transformers", "nibabel", "evaluate", "deepspeed", "datasets", "tensorflow")
SLOW_MS = 500

_GROUP = re.compile(r"ctfw\.v(\d+)\Z")
State = Literal["loaded", "failed", "off", "missing"]


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What became of one entry point of one distribution.

    state    loaded; failed (with a reason); off (left out by CTFW_PLUGINS); missing (named there
             and not installed)
    reason   why it is not loaded, in words
    heavy    packages that its import pulled in and a declaration does not need
    """

    provider: str
    version: str = ""
    entry: str = ""
    state: State = "loaded"
    reason: str = ""
    milliseconds: float = 0.0
    heavy: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()

    @property
    def slow(self) -> str:
        """A remark on what loading cost everybody, or an empty string."""
        if self.heavy:
            return f"slow: imports {', '.join(self.heavy)} at load"
        return "slow to load" if self.milliseconds > SLOW_MS else ""


@dataclass(frozen=True)
class Plugins:
    """What is installed: the catalog of components, a report on each plugin, the hooks."""

    catalog: Catalog
    reports: tuple[PluginReport, ...]
    manager: pluggy.PluginManager
    recipe_dirs: tuple[Path, ...] = ()


class _Refused(Exception):
    """A plugin that imports well and still cannot be used."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry point, or a plugin object handed over by the caller."""

    provider: str
    version: str = ""
    name: str = ""
    group: str = GROUP
    point: metadata.EntryPoint | None = None
    plugin: Any = None
    broken: str = ""

    def load(self) -> Any:
        return self.plugin if self.point is None else self.point.load()


@dataclass
class _Loader:
    """Collects what the plugins declare while they are loaded one by one."""

    manager: pluggy.PluginManager = field(default_factory=new_manager)
    components: list[Component] = field(default_factory=list)
    reports: list[PluginReport] = field(default_factory=list)
    recipe_dirs: list[Path] = field(default_factory=list)

    def add(self, entry: _Entry) -> None:
        report = PluginReport(entry.provider, entry.version, entry.name)
        before, started = set(sys.modules), time.perf_counter()
        try:
            components, dirs = self._load(entry)
        except (Exception, SystemExit) as error:
            name = "" if isinstance(error, _Refused) else f"{type(error).__name__}: "
            reason = name + " ".join(str(error).split())
            report = replace(report, state="failed", reason=reason)
        else:
            report = replace(report, components=components)
            self.components += components
            self.recipe_dirs += dirs
        spent = (time.perf_counter() - started) * 1000
        new = sys.modules.keys() - before
        heavy = tuple(name for name in HEAVY if name in new)
        self.reports.append(replace(report, milliseconds=spent, heavy=heavy))

    def _load(self, entry: _Entry) -> tuple[tuple[Component, ...], list[Path]]:
        if entry.broken:
            raise _Refused(entry.broken)
        if entry.group != GROUP:
            version = entry.group.removeprefix("ctfw.v")
            raise _Refused(f"is made for plugin API {version}, this ctfw provides {API_VERSION}")
        plugin = entry.load()
        _check_hooks(plugin)
        # Everything is asked of a scratch manager first: a plugin that fails half-way must leave
        # no hook behind in the real one.
        scratch = new_manager()
        scratch.register(plugin)
        components = tuple(self._declared(scratch, entry.provider))
        dirs = [Path(path) for found in scratch.hook.ctfw_recipe_dirs() for path in found or ()]
        self.manager.register(plugin, name=f"{entry.provider}:{entry.name}")
        return components, dirs

    def _declared(self, scratch: pluggy.PluginManager, provider: str) -> Iterator[Component]:
        taken = {(c.kind, c.name) for c in self.components if c.provider == provider}
        for hook, kind in DECLARES.items():
            for result in getattr(scratch.hook, hook)():
                for item in result or ():
                    if not isinstance(item, Component):
                        raise _Refused(f"{hook} gave {item!r}, which is not a ctfw.Component")
                    if (kind, item.name) in taken:
                        raise _Refused(f"declares the {words(kind)} '{item.name}' twice")
                    taken.add((kind, item.name))
                    yield replace(item, kind=kind, provider=provider)


def load_plugins(
    *, discover: bool = True, extra: Mapping[str, Any] | None = None, only: str | None = None
) -> Plugins:
    """Load what is installed, built-ins first, and `extra` plugin objects by provider name.

    `only` limits the third parties (default: the environment's CTFW_PLUGINS): "none", or a comma
    list of distribution names. Never raises because of a plugin: see `Plugins.reports`.
    """
    wanted = _wanted(os.environ.get("CTFW_PLUGINS") if only is None else only)
    entries = [_Entry(provider, plugin=plugin) for provider, plugin in (extra or {}).items()]
    entries += _installed() if discover else []
    if discover and all(entry.provider != BUILTIN for entry in entries):
        entries.append(_Entry(BUILTIN, broken="ctfw is not installed; run: pip install -e ."))
    entries.sort(key=lambda entry: (entry.provider != BUILTIN, entry.provider, entry.name))
    loader = _Loader()
    for entry in entries:
        if wanted is None or entry.provider == BUILTIN or entry.provider in wanted:
            loader.add(entry)
        else:
            reason = "is switched off by CTFW_PLUGINS"
            loader.reports.append(
                PluginReport(entry.provider, entry.version, entry.name, "off", reason)
            )
    for provider in sorted((wanted or set()) - {entry.provider for entry in entries}):
        reason = "is named in CTFW_PLUGINS and not installed"
        loader.reports.append(PluginReport(provider, state="missing", reason=reason))
    catalog = Catalog(loader.components, _absent(loader.reports))
    return Plugins(catalog, tuple(loader.reports), loader.manager, tuple(loader.recipe_dirs))


def _wanted(setting: str | None) -> set[str] | None:
    """The third parties that may be loaded; None for all of them."""
    if setting is None or not setting.strip():
        return None
    names = {canonicalize_name(name.strip()) for name in setting.split(",") if name.strip()}
    return set() if names == {"none"} else set(names)


def _absent(reports: Iterable[PluginReport]) -> dict[str, str]:
    """Why each provider that is not loaded is not, for the error of an unknown name."""
    return {
        report.provider: f"failed to load: {report.reason}"
        if report.state == "failed"
        else report.reason
        for report in reports
        if report.state != "loaded"
    }


def _installed() -> list[_Entry]:
    """The ctfw entry points of every distribution on the path; imports none of them."""
    found: list[_Entry] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if "ctfw.v" not in text:
                continue
            provider = canonicalize_name(distribution.metadata["Name"])
            version = distribution.version
        except Exception:
            continue  # a damaged distribution of somebody else, without a name to report
        if provider in seen:
            continue  # shadowed by an earlier folder of the path, as for imports
        seen.add(provider)
        try:
            found += [
                _Entry(provider, version, point.name, point.group, point)
                for point in distribution.entry_points
                if _GROUP.match(point.group)
            ]
        except Exception as error:
            found.append(
                _Entry(provider, version, broken=f"its entry points cannot be read: {error}")
            )
    return found


def _check_hooks(plugin: Any) -> None:
    """Refuse hooks that would silently never be called. Raises _Refused or a pluggy error."""
    scratch = new_manager()
    known = [name for name in vars(scratch.hook) if name.startswith("ctfw_")]
    for name in dir(plugin):
        if not name.startswith("ctfw_") or not callable(getattr(plugin, name, None)):
            continue
        if scratch.parse_hookimpl_opts(plugin, name) is None:
            if name in known:
                raise _Refused(f"hook '{name}' is not marked with @ctfw.hookimpl")
        elif name not in known:
            hint = did_you_mean(name, known)
            raise _Refused(f"unknown hook '{name}'" + (f", {hint}" if hint else ""))
    scratch.register(plugin)
    for caller in scratch.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            hint = did_you_mean(caller.name, known)
            raise _Refused(f"unknown hook '{caller.name}'" + (f", {hint}" if hint else ""))
        for implementation in caller.get_hookimpls():
            if implementation.wrapper or implementation.hookwrapper:
                raise _Refused(f"hook '{caller.name}' is a wrapper; ctfw's hooks cannot be wrapped")
