"""Steps reach TensorBoard, Weights & Biases and MLflow; what fails there ends no training."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctfw.engine.accelerator import make_accelerator
from ctfw.engine.context import Context
from ctfw.engine.launch import checked
from ctfw.engine.trackers import open_trackers
from ctfw.errors import RecipeInvalid
from ctfw.plugins import load_plugins
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_lines
from ctfw.settings import Training

SECRET = "hf_abcdefghijklmnop"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    context = Context(
        stage="tune", run=RunDirectory(tmp_path / "20260101-000000"), facts={"recipe": "ours"}
    )
    yield context
    if context.trackers is not None:
        context.trackers.close()


def opened(context: Context, *names: str, step: int = 0) -> Context:
    training = Training.model_validate(
        {"device": "cpu", "log_to": list(names), "learning_rate": 0.25}
    )
    context.trackers = open_trackers(make_accelerator(training), training, context, step)
    return context


def scalars(context: Context) -> dict[str, list[tuple[int, float]]]:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(context.folder / "tensorboard" / "ours"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, round(e.value, 6)) for e in events.Scalars(name)] for name in names}


def test_tensorboard_shows_every_number_at_its_step(context: Context) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    opened(context, "tensorboard")
    context.step({"step": 1, "loss": 2.5, "note": "words", "grad_norm": float("nan")})
    context.step({"step": 2, "loss": 1.5})
    context.step({"step": 2, "validation": {"positive": 1.25, "auc": {"Nodule": 0.75}}})
    assert context.trackers is not None
    context.trackers.close()
    assert scalars(context) == {
        "loss": [(1, 2.5), (2, 1.5)],
        "validation/positive": [(2, 1.25)],
        "validation/auc/Nodule": [(2, 0.75)],
    }
    assert len(read_lines(context.folder / "steps.jsonl")) == 3


def test_tensorboard_shows_one_run_for_a_stage_with_its_settings_beside(context: Context) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    for step in (0, 1):  # begun, and taken up again
        opened(context, "tensorboard", step=step)
        context.step({"step": step + 1, "loss": 2.5})
        assert context.trackers is not None
        context.trackers.close()
    folder = context.folder / "tensorboard"
    assert [path.name for path in folder.iterdir()] == ["ours"]
    files = list((folder / "ours").iterdir())
    assert len(files) == 2
    assert all(file.name.startswith("events.out.tfevents") for file in files)
    assert b"| learning_rate | 0.25 |" in b"".join(file.read_bytes() for file in files)


def test_resumed_stage_replaces_the_steps_that_it_does_again(context: Context) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    opened(context, "tensorboard")
    for step in (1, 2, 3, 4):
        context.step({"step": step, "loss": float(step)})
    assert context.trackers is not None
    context.trackers.close()
    opened(context, "tensorboard", step=2)
    context.step({"step": 3, "loss": 30.0})
    context.trackers.close()
    assert scalars(context)["loss"] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_mlflow_goes_on_in_the_same_run(context: Context) -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason="mlflow is not installed")
    opened(context, "mlflow")
    context.step({"step": 1, "loss": 2.5})
    assert context.trackers is not None
    context.trackers.close()
    opened(context, "mlflow", step=1)
    context.step({"step": 2, "loss": 1.5})
    context.trackers.close()
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("ours").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 2.5), (2, 1.5),
    ]  # fmt: skip
    assert run.data.params["learning_rate"] == "0.25"
    assert SECRET not in str(run.to_dictionary())


def test_wandb_keeps_an_offline_run_without_secrets(context: Context) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    opened(context, "wandb")
    context.step({"step": 1, "loss": 2.5})
    print(SECRET)
    assert context.trackers is not None
    context.trackers.close()
    (kept,) = context.folder.glob("wandb/offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"learning_rate" in content
    assert b"loss" in content
    for file in kept.parent.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert SECRET.encode() not in content


def test_tracker_that_fails_is_told_of_once(
    context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    opened(context, "tensorboard")

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.log", broken)
    for step in (1, 2, 3):
        context.step({"step": step, "loss": 1.0})
    told = capsys.readouterr().err
    assert told.count("tensorboard failed and is left out from here on") == 1
    assert "ConnectionError: no route" in told
    assert len(read_lines(context.folder / "steps.jsonl")) == 3


def test_service_that_cannot_be_opened_is_told_of(
    context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.start", broken)
    opened(context, "tensorboard")
    context.step({"step": 1, "loss": 1.0})
    assert "tensorboard cannot be opened and is left out" in capsys.readouterr().err
    assert len(read_lines(context.folder / "steps.jsonl")) == 1


def test_missing_package_is_told_of_before_a_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_in = {"ctfw": importlib.import_module("ctfw_plugins")}
    plugins = load_plugins(discover=False, extra=built_in)
    file = tmp_path / "r.yaml"
    file.write_text("ctfw: 1\nextends: ours_heter\ntraining: {log_to: [wandb]}\n")
    monkeypatch.setattr("ctfw.engine.launch.find_spec", lambda name: None)
    with pytest.raises(RecipeInvalid) as caught:
        checked(str(file), (), None, plugins)
    assert str(caught.value) == (
        f"{file}:3:20: training.log_to: wandb needs the package wandb, which is not installed "
        "(run: pip install wandb, or leave it away: steps.jsonl holds the same numbers)"
    )
