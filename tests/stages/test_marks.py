"""A negative contradicts the sentences whose findings its image does not share, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from word_tokens import Words

from ctfw.component import Block
from ctfw.config import Strict
from ctfw.engine.context import Context
from ctfw.errors import UserError
from ctfw.labels import CT_RATE_LABELS
from ctfw.plugins import load_plugins
from ctfw.settings import Training
from ctfw.types import Case, CaseTable, LossTerms, Negative, StepOutput
from ctfw_plugins.stages.configs import FinetuneConfig
from ctfw_plugins.stages.extra import check_known, summed
from ctfw_plugins.stages.finetune import Finetune
from ctfw_plugins.stages.marks import Conflicts, marked

REPORT = (
    "Findings: The trachea is open. Pleural effusion is observed on the right. "
    "No consolidation was detected. Cardiomegaly is observed."
)
EFFUSION, CONSOLIDATION, HEART = "Pleural effusion", "Consolidation", "Cardiomegaly"
CATALOG = load_plugins(only="none").catalog


def labels(*present: str) -> np.ndarray:
    return np.array([name in present for name in CT_RATE_LABELS], np.int8)


def labeler() -> Any:
    component = CATALOG.get("labeler", "ct-rate-18")
    return component.load()(component.config(), None)


def anchor() -> Case:
    return Case("a", "p", Path("a.nii.gz"), REPORT, labels=labels(EFFUSION, HEART))


def words_of(negative: Negative, report: str = REPORT) -> str:
    table = CaseTable((anchor(),), CT_RATE_LABELS)
    conflicts = Conflicts(Words(), labeler(), table, "tune")  # type: ignore[arg-type]
    mask = conflicts(replace(anchor(), report=report), negative)
    words = report.split()
    assert len(mask) == len(words) + 1
    assert not mask[-1], "the end of turn is right under any image"
    return " ".join(word for word, marked_ in zip(words, mask, strict=False) if marked_)


def other(*present: str) -> Negative:
    return Negative(case=Case("b", "q", Path("b.nii.gz"), "", labels=labels(*present)))


def test_stated_findings_that_the_negative_lacks_conflict() -> None:
    told = words_of(other(HEART))
    assert told == "Pleural effusion is observed on the right."


def test_denied_findings_that_the_negative_has_conflict() -> None:
    told = words_of(other(EFFUSION, HEART, CONSOLIDATION))
    assert told == "No consolidation was detected."


def test_same_labels_conflict_nowhere() -> None:
    assert words_of(other(EFFUSION, HEART)) == ""


def test_noise_contradicts_whatever_is_stated() -> None:
    blank = Negative(transform=lambda volume: volume, shows=labels())
    assert words_of(blank) == "Pleural effusion is observed on the right. Cardiomegaly is observed."
    unknown = Negative(transform=lambda volume: volume)
    assert words_of(unknown) == words_of(blank)


def test_mirrored_image_contradicts_the_side_alone() -> None:
    mirror = Negative(transform=lambda volume: volume, shows=anchor().labels, mirrored=True)
    assert words_of(mirror) == "Pleural effusion is observed on the right."
    assert words_of(mirror, "The heart is on the left and the liver on the right.") == ""


def test_labels_that_the_data_set_does_not_have_never_conflict() -> None:
    names = (EFFUSION, HEART)
    table = CaseTable((anchor(),), names)
    conflicts = Conflicts(Words(), labeler(), table, "tune")  # type: ignore[arg-type]
    shown = Negative(case=Case("b", "q", Path("b"), "", labels=np.array([1, 1], np.int8)))
    assert not conflicts(anchor(), shown).any()


def test_marks_are_padded_like_the_reports() -> None:
    answer = torch.tensor([[True, True, True], [True, False, False]])
    rows = [np.array([True, False, True]), np.array([True])]
    mask = marked(StepOutput(torch.zeros(2, 3), answer), rows).marks["conflicting"]
    assert mask.tolist() == [[True, False, True], [True, False, False]]
    assert marked(StepOutput(torch.zeros(2, 3), answer), None).marks == {}


def test_backbone_without_spans_is_refused_in_words() -> None:
    table = CaseTable((anchor(),), CT_RATE_LABELS)
    with pytest.raises(UserError, match=r"stages\.tune.*no `spans`.*loss\.scope to all"):
        Conflicts(object(), labeler(), table, "tune")  # type: ignore[arg-type]


def test_labels_of_another_world_are_refused_in_words() -> None:
    table = CaseTable((anchor(),), ("appendicitis", "hernia"))
    with pytest.raises(UserError, match=r"knows none of the data set.s labels .appendicitis"):
        Conflicts(Words(), labeler(), table, "tune")  # type: ignore[arg-type]


def block(kind: str, name: str, **settings: Any) -> Block:
    component = CATALOG.get(kind, name)
    return Block(component, component.config.model_validate(settings))


def built(labeler_: Block | None, **settings: Any) -> Finetune:
    config = FinetuneConfig(
        negatives=block("negative_sampler", "heter"),
        loss=block("loss", "bounded-contrast", **settings),
        labeler=labeler_,
    )
    return Finetune(config, Context(stage="tune"))


def test_scope_without_a_labeler_is_refused_when_the_stage_is_built() -> None:
    with pytest.raises(UserError, match=r"stages\.tune.*needs a labeler that shows its evidence"):
        built(None, scope="conflicting")
    assert built(None, scope="all").loss.uses_negative


def test_labeler_without_evidence_is_refused_when_the_stage_is_built() -> None:
    with pytest.raises(UserError, match="needs a labeler that shows its evidence"):
        built(block("labeler", "radbert", folder="x"), bound="unlikelihood")
    assert built(block("labeler", "ct-rate-18"), bound="unlikelihood")


class Constant:
    """Gives a constant times the positive's loss."""

    uses_negative = False

    def __init__(self, factor: float, **names: float) -> None:
        self._factor, self._names = factor, names

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        return LossTerms(self._factor * positive.per_case().mean(), self._names)


def test_extra_losses_are_added_and_logged_under_their_own_names() -> None:
    extra = Constant(0.5, align=7.0, loss=9.0)
    loss = summed([Constant(1.0, loss=1.0, positive=2.0), extra, Constant(0.25, align=8.0)])
    nll = torch.tensor([[4.0]], requires_grad=True)
    terms = loss(StepOutput(nll, torch.ones(1, 1, dtype=torch.bool)))
    terms.total.backward()
    assert nll.grad is not None
    assert float(nll.grad) == 1.75
    named = {"loss": 7.0, "positive": 2.0, "align": 7.0, "loss.2": 9.0, "align.3": 8.0}
    assert terms.terms == named


def test_needs_of_extra_losses_are_the_stage_s() -> None:
    align = block("loss", "align-contrast")
    loss = summed([Constant(1.0), align.component.load()(align.settings, None)])
    assert loss.embeddings == ("image", "text-alone")  # type: ignore[attr-defined]
    check_known(loss, "tune")
    Constant.marks = ("strange",)  # type: ignore[attr-defined]
    try:
        with pytest.raises(UserError, match=r"stages\.tune: the loss asks for the marks strange"):
            check_known(Constant(1.0), "tune")
    finally:
        del Constant.marks  # type: ignore[attr-defined]


def test_strict_settings_of_the_stage_name_the_extra_losses() -> None:
    assert issubclass(FinetuneConfig, Strict)
    config = FinetuneConfig(
        loss=block("loss", "cross-entropy"),
        extra_losses=[block("loss", "align-contrast", weight=0.1)],
        training=Training(batch_size=2),
    )
    assert Finetune(config, Context(stage="tune")).sampler is None


@pytest.mark.parametrize(
    "settings",
    [
        {"extra_losses": [block("loss", "align-contrast")], "loss": block("loss", "cross-entropy")},
        {
            "negatives": block("negative_sampler", "in-batch"),
            "loss": block("loss", "bounded-contrast"),
        },
    ],
)
def test_forward_pass_of_one_case_is_refused_where_cases_are_compared(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(UserError, match=r"training.batch_size is 1; set it to 2 or more"):
        Finetune(FinetuneConfig(**settings, training=Training(batch_size=1)), Context(stage="tune"))
