"""The pieces of the fine-tuning loop."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ctfw.engine.context import Context
from ctfw.engine.images import TokenBank
from ctfw.engine.reliance import swap_partners
from ctfw.errors import UserError
from ctfw.types import CaseTable, LossTerms, StepOutput
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy
from ctfw_plugins.stages import finetune
from ctfw_plugins.stages.finetune import (
    Finetune,
    Log,
    Validator,
    check_finite,
    enable_checkpointing,
    part,
)
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.training import Standing


def test_positive_and_negative_differ_in_the_image_alone(echo: Any, cases: CaseTable) -> None:
    calls: list[tuple[list[float], list[str]]] = []

    class Spy:
        def forward(self, images: list[float], reports: list[str], module: Any) -> StepOutput:
            calls.append((images, reports))
            return echo.forward(images, reports)

    loss = BoundedContrast(BoundedContrastConfig(beta=0.5, max_loss=50))
    stage = SimpleNamespace(loss=loss)
    anchors = [replace(cases[i], report=" ".join(["word"] * (i + 1))) for i in range(2)]
    pair = Pairs(0, anchors, [1.0, 2.0], [5.0, 6.0])
    terms = Finetune.loss_of(stage, Spy(), None, pair, 0.0)  # type: ignore[arg-type]
    assert calls == [([1.0, 2.0, 5.0, 6.0], ["word", "word word"] * 2)]
    # Echo's NLL is image + token index: 1 and 2.5 of the positives, 5 and 6.5 of the negatives.
    assert terms.terms["positive"] == pytest.approx(1.75)
    assert terms.terms["negative"] == pytest.approx(5.75)
    assert float(terms.total) == pytest.approx(1.75 - 0.5 * 5.75)


def test_without_negatives_one_pass_is_enough(echo: Any, cases: CaseTable) -> None:
    stage = SimpleNamespace(loss=CrossEntropy(CrossEntropyConfig()))
    pair = Pairs(0, [replace(cases[0], report="word")], [3.0], None)
    terms = Finetune.loss_of(stage, echo, None, pair, 0.0)  # type: ignore[arg-type]
    assert terms.terms == {"loss": 3.0, "positive": 3.0}


def test_part_of_a_batch_keeps_its_embeddings() -> None:
    output = StepOutput(
        torch.arange(8.0).view(4, 2), torch.ones(4, 2, dtype=torch.bool), {"x": torch.arange(4)}
    )
    half = part(output, 2, 4)
    assert half.nll.tolist() == [[4, 5], [6, 7]]
    assert half.answer.shape == (2, 2)
    assert half.embeddings["x"].tolist() == [2, 3]


def test_log_is_the_mean_over_passes_and_starts_anew() -> None:
    log = Log()
    for value in (1.0, 3.0):
        log.add(LossTerms(torch.tensor(value), {"loss": value}))
    assert log.mean() == {"loss": 2.0}
    log.add(LossTerms(torch.tensor(5.0), {"loss": 5.0}))
    assert log.mean() == {"loss": 5.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_loss_that_is_no_number_stops_before_the_weights(value: float, cases: CaseTable) -> None:
    pair = Pairs(6, [cases[0], cases[1]], [], None)
    terms = LossTerms(torch.tensor(value), {})
    with pytest.raises(UserError) as caught:
        check_finite(terms, pair, Context(stage="tune"))
    assert str(caught.value) == (
        f"stage tune: the loss is {value} at step 7 (cases case-0, case-1). Lower "
        "training.learning_rate or loss.max_loss; the last checkpoint is kept, `ctfw resume` goes "
        "on from it"
    )
    check_finite(LossTerms(torch.tensor(1.0), {}), pair, Context(stage="tune"))


def test_validation_reads_own_and_another_image(
    echo: Any, bank: TokenBank, cases: CaseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = CaseTable(tuple(replace(c, report="one") for c in cases), cases.label_names)
    partners = swap_partners(list(table), 3)
    half = CaseTable(table.cases[:7], table.label_names)
    few = swap_partners(list(half), 3)
    for batch in (2, 16):
        monkeypatch.setattr(finetune, "EVALUATION_BATCH", batch)
        found = Validator(echo, bank, table, 3)()
        assert found["positive"] == pytest.approx(sum(range(12)) / 1200)
        assert found["another"] == pytest.approx(
            sum(int(c.id.split("-")[1]) for c in partners) / 1200
        )
        found = Validator(echo, bank, half, 3)()
        assert found["positive"] == pytest.approx(21 / 700)
        assert found["another"] == pytest.approx(sum(int(c.id.split("-")[1]) for c in few) / 700)


def test_best_is_the_lowest_so_far() -> None:
    standing = Standing()
    assert [standing.note(score) for score in (3.0, 4.0, 2.0, 2.0, float("nan"), 1.0)] == [
        True, False, True, False, False, True,
    ]  # fmt: skip
    assert standing.best == 1.0


def test_checkpointing_is_asked_of_the_outermost_part_that_can() -> None:
    asked: list[Any] = []

    class Able(torch.nn.Module):
        def gradient_checkpointing_enable(self, settings: Any) -> None:
            asked.append((self, settings))

    inner = Able()
    inner.child = Able()
    enable_checkpointing(torch.nn.Sequential(torch.nn.Linear(1, 1), inner))
    assert asked == [(inner, {"use_reentrant": False})]
