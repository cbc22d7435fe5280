"""`ctfw plugins`: what is installed, what failed and why, what was slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ctfw.cli.options import columns
from ctfw.component import KINDS, Block, Component
from ctfw.config import Strict
from ctfw.errors import UserError, did_you_mean
from ctfw.plugins import PluginReport, Plugins, load_plugins
from ctfw.recipe.load import dump
from ctfw.registry import words

_WIDEST = 60  # characters of a default that is a list


def plugins(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A plugin or a component.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also import the code of every component; slow.")
    ] = False,
) -> None:
    """List plugins and their components, or describe one with its settings."""
    loaded = load_plugins()
    reports = list(loaded.reports)
    if name is not None:
        reports = [report for report in reports if report.provider == name]
        if not reports:
            _describe(name, loaded)
            return
    print(columns((_label(report), _state(report)) for report in reports))
    components = [component for report in reports for component in report.components]
    for kind in KINDS:
        rows = [_row(component) for component in components if component.kind == kind]
        if rows:
            print(f"\n{words(kind)}\n{columns(rows, indent='  ')}")
    if check:
        _check(components, reports)


def _label(report: PluginReport) -> str:
    return f"{report.provider} {report.version}".strip()


def _state(report: PluginReport) -> str:
    if report.state == "failed":
        return f"FAILED {report.reason}"
    if report.state != "loaded":
        return report.reason
    number = len(report.components)
    counted = f"{number} component{'s' * (number != 1)}, {report.milliseconds:.0f} ms"
    return f"{counted}, {report.slow}" if report.slow else counted


def _row(component: Component) -> tuple[str, str]:
    lacking = f" [not usable here: needs {'; '.join(component.missing())}]"
    return component.qualified, component.summary + (lacking if component.missing() else "")


def _check(components: list[Component], reports: list[PluginReport]) -> None:
    """Import every target; a component that lacks a package is no fault of its plugin."""
    faults = [f"{r.provider}: {r.reason}" for r in reports if r.state == "failed"]
    usable = [component for component in components if not component.missing()]
    for component in usable:
        try:
            component.load()
        except UserError as error:
            faults.append(str(error))
        except Exception as error:
            faults.append(
                f"{words(component.kind)} {component.qualified}: importing {component.target} "
                f"raised {type(error).__name__}: {error}"
            )
    if faults:
        raise UserError("\n".join(faults))
    print(f"\n{len(usable)} components imported")


def _describe(name: str, loaded: Plugins) -> None:
    """Every component of that name, whatever its kind."""
    everything = loaded.catalog.all()
    found = [c for c in everything if name in (c.name, c.qualified, f"{c.provider}/{c.name}")]
    if not found:
        known = {*(c.name for c in everything), *(r.provider for r in loaded.reports)}
        hint = did_you_mean(name, known)
        raise UserError(
            f"no plugin and no component is called '{name}'" + (f"; {hint}" * bool(hint))
        )
    for component in found:
        print(f"{words(component.kind)} {component.qualified}: {component.summary}")
        if rows := list(_settings(component)):
            print(columns(rows, indent="  "))


def _settings(component: Component) -> Iterator[tuple[str, str, str]]:
    for name, field in component.config.model_fields.items():
        default: Any = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else f"= {_yaml(default)}"
        yield name, shown, field.description or ""


def _yaml(value: Any) -> str:
    """A default as a recipe would have it; what is long is only counted."""
    if isinstance(value, Block):
        return f"{{use: {value.component.qualified}}}"
    if isinstance(value, Strict):
        return f"({len(type(value).model_fields)} settings)"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_yaml, value))
        return f"[{shown}]" if len(shown) <= _WIDEST else f"({len(value)} values)"
    return dump(value).strip().removesuffix("...").strip()
