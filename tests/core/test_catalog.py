"""Names are found, and a wrong name says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ctfw import Component, Strict
from ctfw.errors import UnknownComponent
from ctfw.plugins import Plugins
from ctfw.registry import Catalog, Use


def test_unknown_name_gives_the_close_match_and_the_list(fake_plugins: Plugins) -> None:
    with pytest.raises(UnknownComponent) as caught:
        fake_plugins.catalog.get("negative_sampler", "hetr")
    assert str(caught.value) == (
        "no negative sampler named 'hetr'. Did you mean 'heter'? Available: gauss, heter."
    )


def test_failed_plugin_is_mentioned_when_it_could_have_the_name() -> None:
    catalog = Catalog([], {"ctfw-hard": "failed to load: ImportError: no torch"})
    with pytest.raises(UnknownComponent, match=r"Plugin 'ctfw-hard' failed to load: ImportError"):
        catalog.get("loss", "hard")


def test_plugin_that_is_not_installed_is_named(fake_plugins: Plugins) -> None:
    with pytest.raises(UnknownComponent, match="pip install ctfw-hard-negatives"):
        fake_plugins.catalog.get("negative_sampler", "ctfw-hard-negatives/hard")


def test_name_of_another_kind_is_pointed_out(fake_plugins: Plugins) -> None:
    with pytest.raises(UnknownComponent, match=r"There is a metric of that name"):
        fake_plugins.catalog.get("loss", "bleu")


def test_other_revision_is_refused(fake_plugins: Plugins) -> None:
    assert fake_plugins.catalog.get("metric", "coverage@2").revision == 2
    with pytest.raises(UnknownComponent, match=r"is at revision 2, and revision 1 is asked for"):
        fake_plugins.catalog.get("metric", "ctfw/coverage@1")


@pytest.mark.parametrize("text", ["a:B", "pkg.module:Class", "a/b/c", "a@x", "", "a b", "a@1@2"])
def test_python_paths_and_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UnknownComponent, match="is not the name of a component"):
        Use.parse(text)


def test_use_has_three_parts() -> None:
    assert Use.parse("heter") == Use("heter")
    assert Use.parse("My_Plugin/qwen2.5-vl@12") == Use("qwen2.5-vl", "my-plugin", 12)


def test_one_provider_cannot_have_a_name_twice() -> None:
    once = Component("a", "b:C", Strict, "", kind="loss", provider="ctfw-x")
    with pytest.raises(ValueError, match="'ctfw-x' declares the loss 'a' twice"):
        Catalog([once, replace(once, summary="again")])
