"""A loss that looks at contradicted sentences alone is refused beside negatives without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from word_tokens import Words

from ctfw.component import Block
from ctfw.contracts import BatchSampler
from ctfw.engine.context import Context
from ctfw.errors import RecipeInvalid, UserError
from ctfw.labels import CT_RATE_LABELS
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve
from ctfw.settings import Training
from ctfw.types import Case, CaseTable
from ctfw_plugins.losses.configs import BoundedContrastConfig
from ctfw_plugins.stages.configs import FinetuneConfig
from ctfw_plugins.stages.contradictions import contradicted
from ctfw_plugins.stages.finetune import Finetune
from ctfw_plugins.stages.marks import Conflicts

PLUGINS = load_plugins(only="none")
CATALOG = PLUGINS.catalog
RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "ours_heter.yaml")
SAMPLERS = CATALOG.names("negative_sampler")
BLIND, SIDED = {"slice-shuffle"}, {"mirror"}
SIDED_REPORT = "Pleural effusion is observed on the right. Cardiomegaly is observed."
PLAIN_REPORT = "Pleural effusion is observed. Cardiomegaly is observed."


def block(kind: str, name: str, **settings: Any) -> Block:
    component = CATALOG.get(kind, name)
    return Block(component, component.config.model_validate(settings))


def table(report: str) -> CaseTable:
    """Twenty patients: the even ones have what the report states, the others all the rest."""
    stated = np.isin(CT_RATE_LABELS, ["Pleural effusion", "Cardiomegaly"])
    cases = [
        Case(f"c{i}", f"p{i}", Path(f"{i}"), report, labels=(stated ^ bool(i % 2)).astype(np.int8))
        for i in range(20)
    ]
    return CaseTable(tuple(cases), CT_RATE_LABELS)


def conflicts(cases: CaseTable) -> Conflicts:
    component = CATALOG.get("labeler", "ct-rate-18")
    labeler = component.load()(component.config(), None)
    return Conflicts(Words(), labeler, cases, "tune")  # type: ignore[arg-type]


def contradictions(name: str, report: str) -> int:
    """How many tokens the negatives of the even cases contradict."""
    cases, chosen = table(report), block("negative_sampler", name)
    sampler = chosen.component.load()(chosen.settings, None)
    sampler.fit(cases)
    if isinstance(sampler, BatchSampler):
        sampler.meet(list(cases))
    sampler.refresh(0, 0)
    found = conflicts(cases)
    rng = np.random.default_rng(0)
    return sum(int(found(case, sampler.draw(case, rng)).sum()) for case in list(cases)[::2])


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_contradicts_what_its_settings_say(name: str) -> None:
    declared = contradicted(block("negative_sampler", name))
    assert (contradictions(name, SIDED_REPORT) > 0) == bool(declared)
    assert (contradictions(name, PLAIN_REPORT) > 0) == ("findings" in declared)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("scope", [None, "all", "conflicting"])
@pytest.mark.parametrize("bound", ["clamp", "saturating", "softplus", "unlikelihood", "margin"])
def test_recipe_is_refused_where_no_negative_could_teach(
    name: str, scope: str | None, bound: str
) -> None:
    overrides = [f"stages.tune.negatives={{use: {name}}}", f"stages.tune.loss.bound={bound}"]
    overrides += [f"stages.tune.loss.scope={scope}"] if scope else []
    looks = scope == "conflicting" or (scope is None and bound == "unlikelihood")
    if not (looks and name in BLIND):
        assert resolve(RECIPE, overrides, None, PLUGINS).stages["tune"]
        return
    with pytest.raises(RecipeInvalid) as caught:
        resolve(RECIPE, overrides, None, PLUGINS)
    assert "stages.tune: negatives 'slice-shuffle' contradict no sentence" in str(caught.value)
    assert "set loss.scope to all" in str(caught.value)


def test_extra_loss_that_looks_at_conflicts_is_refused_too() -> None:
    unlikely = block("loss", "bounded-contrast", bound="unlikelihood")
    with pytest.raises(ValueError, match="contradict no sentence of a report"):
        FinetuneConfig(
            negatives=block("negative_sampler", "slice-shuffle"),
            loss=block("loss", "bounded-contrast"),
            extra_losses=[unlikely],
        )


class Silent(BoundedContrastConfig):
    """A third party's settings, which do not tell what the loss looks at."""

    @property
    def marks(self) -> tuple[str, ...]:
        return ()


def test_loss_that_tells_its_marks_by_its_code_alone_is_refused_when_the_stage_is_built() -> None:
    component = replace(CATALOG.get("loss", "bounded-contrast"), target=f"{__name__}:Looking")
    config = FinetuneConfig(
        negatives=block("negative_sampler", "slice-shuffle"),
        loss=Block(component, Silent()),
        labeler=block("labeler", "ct-rate-18"),
        training=Training(batch_size=2),
    )
    with pytest.raises(UserError, match=r"stages\.tune: negatives 'slice-shuffle' contradict no"):
        Finetune(config, Context(stage="tune"))


class Looking:
    """Looks at conflicting tokens, and says so in its code alone."""

    uses_negative = True
    marks = ("conflicting",)

    def __init__(self, config: Any, context: Any = None) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "report", "words"),
    [
        ("mirror", PLAIN_REPORT, "no sentence of the first 20 training reports names a side"),
        ("heter", "Die Lunge ist frei.", "training reports states or denies a finding"),
        ("heter", "Die Lunge ist frei.", "Does the labeler read the language of the reports"),
    ],
)
def test_reports_with_nothing_to_contradict_are_refused_before_the_first_step(
    name: str, report: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        conflicts(table(report)).check(block("negative_sampler", name))


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - BLIND))
def test_reports_with_findings_and_sides_serve_every_other_sampler(name: str) -> None:
    conflicts(table(SIDED_REPORT)).check(block("negative_sampler", name))
