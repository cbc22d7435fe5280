"""The pieces of the fine-tuning loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from ctfw.engine.images import TokenBank
from ctfw.engine.reliance import swap_partners
from ctfw.types import CaseTable
from ctfw_plugins.stages import finetune
from ctfw_plugins.stages.finetune import Validator, enable_checkpointing
from ctfw_plugins.stages.training import Standing, mean_of


def test_logged_terms_are_the_mean_over_passes() -> None:
    assert mean_of([{"loss": 1.0}, {"loss": 3.0, "rare": 7.0}]) == {"loss": 2.0, "rare": 7.0}
    assert mean_of([{"loss": 5.0}]) == {"loss": 5.0}


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
