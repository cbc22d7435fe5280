"""Plugins are found, isolated and named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ctfw import Component, Strict, hookimpl, load_plugins
from ctfw.errors import AmbiguousComponent, UnknownComponent
from ctfw.plugins import PluginReport, Plugins

Install = Callable[..., None]


def report(plugins: Plugins, provider: str) -> PluginReport:
    return next(report for report in plugins.reports if report.provider == provider)


def loss(name: str) -> Component:
    return Component(name, "json:JSONDecoder", Strict, "a loss")


def with_hook(**hooks: Callable[..., Any]) -> SimpleNamespace:
    """A plugin object that has these hooks."""
    for name, function in hooks.items():
        function.__name__ = name
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def loaded(plugin: Any) -> Plugins:
    return load_plugins(discover=False, extra={"ctfw-mine": plugin})


def test_broken_plugin_is_named_and_does_not_hurt_others(install: Install) -> None:
    install("builtin", "ctfw-broken")
    plugins = load_plugins()
    broken = report(plugins, "ctfw-broken")
    assert broken.state == "failed"
    assert broken.reason == "ModuleNotFoundError: No module named 'not_installed_anywhere'"
    assert broken.version == "0.2.0"
    assert plugins.catalog.get("loss", "dpo").provider == "ctfw"


def test_future_plugin_is_reported_without_being_imported(install: Install) -> None:
    install("builtin", "ctfw-future")
    future = report(load_plugins(), "ctfw-future")
    assert future.reason == "is made for plugin API 2, this ctfw provides 1"
    assert "ctfw_future" not in sys.modules


def test_misspelt_hook_is_refused_with_the_right_name(install: Install) -> None:
    install("builtin", "ctfw-typo")
    typo = report(load_plugins(), "ctfw-typo")
    assert typo.reason == (
        "unknown hook 'ctfw_negative_sampler', did you mean 'ctfw_negative_samplers'?"
    )


def test_heavy_plugin_loads_and_is_named(install: Install) -> None:
    install("builtin", "ctfw-heavy")
    sys.modules.pop("evaluate", None)
    plugins = load_plugins()
    assert report(plugins, "ctfw-heavy").slow == "slow: imports evaluate at load"
    assert plugins.catalog.get("loss", "heavy-loss").provider == "ctfw-heavy"


def test_bare_name_of_a_built_in_is_reserved(install: Install) -> None:
    install("builtin", "ctfw-dup-a")
    catalog = load_plugins().catalog
    assert catalog.get("negative_sampler", "heter").provider == "ctfw"
    assert catalog.get("negative_sampler", "ctfw-dup-a/heter").provider == "ctfw-dup-a"
    assert catalog.names("negative_sampler") == ["ctfw-dup-a/heter", "gauss", "heter"]


def test_two_third_parties_with_one_name_need_the_qualified_spelling(install: Install) -> None:
    install("builtin", "ctfw-dup-a", "ctfw-dup-b")
    catalog = load_plugins().catalog
    with pytest.raises(AmbiguousComponent, match=r"write ctfw-dup-a/shared or ctfw-dup-b/shared"):
        catalog.get("loss", "shared")
    assert catalog.get("loss", "ctfw-dup-b/shared").provider == "ctfw-dup-b"
    assert catalog.get("loss", "ctfw_Dup.B/shared@1").provider == "ctfw-dup-b"


def test_environment_limits_what_is_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("builtin", "ctfw-dup-a", "ctfw-dup-b")
    monkeypatch.setenv("CTFW_PLUGINS", "ctfw-dup-b, ctfw-gone")
    plugins = load_plugins()
    states = {report.provider: report.state for report in plugins.reports}
    assert states["ctfw"] == states["ctfw-dup-b"] == "loaded"
    assert states["ctfw-dup-a"] == "off"
    assert states["ctfw-gone"] == "missing"
    assert "ctfw_dup_a" not in sys.modules
    assert plugins.catalog.get("loss", "shared").provider == "ctfw-dup-b"
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    with pytest.raises(UnknownComponent, match=r"'ctfw-dup-b' is switched off by CTFW_PLUGINS"):
        load_plugins().catalog.get("loss", "ctfw-dup-b/shared")


def test_first_distribution_of_a_name_shadows_the_others(install: Install) -> None:
    install("builtin")
    assert [r.provider for r in load_plugins(only="none").reports].count("ctfw") == 1


def test_nothing_is_kept_between_two_loads(install: Install) -> None:
    install("builtin")
    first, second = load_plugins(only="none"), load_plugins(only="none")
    assert first.manager is not second.manager
    assert first.catalog is not second.catalog


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (with_hook(ctfw_losses=lambda: ["cross-entropy"]), "is not a ctfw.Component"),
        (with_hook(ctfw_losses=lambda: [loss("a"), loss("a")]), "declares the loss 'a' twice"),
        (with_hook(ctfw_losses=lambda: 1 / 0), "ZeroDivisionError"),
        (with_hook(ctfw_losses=lambda extra: []), "extra"),
        (with_hook(ctfw_losses=lambda: [loss("Bad Name")]), "use lower case"),
        (SimpleNamespace(ctfw_losses=lambda: []), "not marked with @ctfw.hookimpl"),
    ],
)
def test_bad_declaration_fails_its_plugin_only(plugin: Any, reason: str) -> None:
    plugins = loaded(plugin)
    assert plugins.reports[0].state == "failed"
    assert reason in plugins.reports[0].reason
    assert plugins.catalog.all() == []
    assert not plugins.manager.get_plugins()


def test_wrapper_cannot_change_what_others_declare() -> None:
    def ctfw_losses() -> Any:
        return (yield)

    plugin = SimpleNamespace(ctfw_losses=hookimpl(wrapper=True)(ctfw_losses))
    assert "cannot be wrapped" in loaded(plugin).reports[0].reason


def test_plugin_cannot_lie_about_kind_and_provider() -> None:
    liar = Component("x", "a:B", Strict, "", kind="stage", provider="ctfw")
    component = loaded(with_hook(ctfw_losses=lambda: [liar])).catalog.get("loss", "x")
    assert (component.kind, component.provider) == ("loss", "ctfw-mine")


def test_plugin_may_declare_nothing() -> None:
    plugins = loaded(with_hook(ctfw_losses=lambda: None, ctfw_recipe_dirs=lambda: None))
    assert plugins.reports[0].state == "loaded"
    assert plugins.recipe_dirs == ()
