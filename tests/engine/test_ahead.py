"""What would end or mar a training late is said before the data are prepared."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctfw.engine.ahead import repeats, tell_large_steps
from ctfw.engine.context import Context
from ctfw.engine.launch import checked, create
from ctfw.engine.run import run_recipe
from ctfw.errors import UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.directory import RunDirectory
from ctfw.settings import Training
from ctfw_plugins.datasets.phantom import Phantom

ALIGN = "stages.tune.extra_losses=[{use: align-contrast}]"
BATCH = "training.batch_size=1"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(discover=False, extra={"ctfw": importlib.import_module("ctfw_plugins")})


def made(plugins: Plugins, root: Path, *overrides: str) -> tuple[Any, RunDirectory]:
    recipe = checked("ours_heter", ["data.workers=1", *overrides], None, plugins)
    return recipe, create(recipe, root)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.device=cuda"], "training.device is 'cuda', but torch sees no GPU"),
        (["stages.tune.negatives={use: in-batch}", BATCH], "'in-batch' compares the cases of one"),
        ([ALIGN, BATCH], "'align-contrast' compares the cases of one"),
        (["stages.test.training.device=cuda:1"], "training.device is 'cuda:1', but torch sees no"),
    ],
)
def test_nothing_is_prepared_for_a_training_that_cannot_be(
    overrides: list[str], words: str,
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def prepared(self: Any) -> None:
        raise AssertionError("the data set was prepared first")

    monkeypatch.setattr(Phantom, "prepare", prepared)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    recipe, run = made(plugins, tmp_path, *overrides)
    with pytest.raises(UserError, match=words):
        run_recipe(recipe, plugins, run)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 400))
def test_a_step_repeats_cases_just_where_it_reads_more_than_there_are(
    size: int, passes: int, number: int, cases: int
) -> None:
    text = repeats(Training(batch_size=size, gradient_accumulation=passes), number, cases)
    assert bool(text) is (size * passes * number > cases)


def test_steps_larger_than_the_split_are_told_of_with_what_makes_them(
    plugins: Plugins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("training.batch_size=4", "stages.see.training.batch_size=8")
    recipe, run = made(plugins, tmp_path, *settings)
    run.set_status(processes=2)
    tell_large_steps(recipe, Context(run=run), run, 10)
    assert capsys.readouterr().err == (
        "  see: a step reads 16 cases (batch_size 8 x gradient_accumulation 1 x 2 processes) and "
        "the training split has 10: they are read more than once within a step\n"
    )
