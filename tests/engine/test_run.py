"""A run goes through its stages once, tells observers, and says how it ended."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ctfw.page.build
from ctfw.engine.launch import checked, create, find_runs, reopen
from ctfw.engine.run import quiet_libraries, run_recipe
from ctfw.errors import BadData, RecipeInvalid, UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.begun import begun_with, note_processes, resume_command
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json, read_lines, write_text

RECIPE = """\
ctfw: 1
name: toy
data: {use: toy}
backbone: {use: weightless}
stages:
  one: {use: note}
  two: {use: note, start_from: one/best}
"""


@pytest.fixture
def toy(install: Callable[..., None]) -> Any:
    install("ctfw-toy")
    module = importlib.import_module("ctfw_toy")
    module.SEEN.clear()
    module.TROUBLE.clear()
    return module


@pytest.fixture
def plugins(toy: Any) -> Plugins:
    return load_plugins(discover=False, extra={"ctfw-toy": toy})


Make = Callable[..., tuple[Any, RunDirectory]]


@pytest.fixture
def make(plugins: Plugins, tmp_path: Path) -> Make:
    """A recipe with overrides, and a new folder for it."""

    def new(*overrides: str) -> tuple[Any, RunDirectory]:
        file = tmp_path / "toy.yaml"
        file.write_text(RECIPE)
        recipe = checked(str(file), overrides, None, plugins)
        return recipe, create(recipe, tmp_path / "runs")

    return new


def test_number_of_processes_is_kept_from_the_first_checkpoint_on(
    make: Make, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = make()
    assert begun_with(run) is None
    run_recipe(recipe, plugins, run)
    assert begun_with(run) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    note_processes(recipe, run)
    assert begun_with(run) == 2
    write_text(run.stage("one") / "checkpoints" / "last", "step-000001\n")
    monkeypatch.setenv("WORLD_SIZE", "3")
    note_processes(recipe, run)
    assert begun_with(run) == 2
    assert resume_command(run, 2) == f"ctfw resume {run.path} --nproc 2"
    assert resume_command(run, 1) == f"ctfw resume {run.path}"


def test_observers_see_everything_in_order(make: Make, plugins: Plugins, toy: Any) -> None:
    recipe, run = make()
    run_recipe(recipe, plugins, run)
    assert [name for name, _ in toy.SEEN] == [
        "started", "prepare", "step", "step", "stage", "step", "step", "stage", "finished",
    ]  # fmt: skip
    assert all(facts["run"] == run.path for name, facts in toy.SEEN if name != "prepare")
    steps = [facts for name, facts in toy.SEEN if name == "step"]
    assert [(s["stage"], s["step"], s["loss"]) for s in steps] == [
        ("one", 1, 1.0), ("one", 2, 0.5), ("two", 1, 1.0), ("two", 2, 0.5),
    ]  # fmt: skip
    stages = [facts for name, facts in toy.SEEN if name == "stage"]
    assert [(s["stage"], s["numbers"]) for s in stages] == [
        ("one", {"loss": 0.5}), ("two", {"loss": 0.5}),
    ]  # fmt: skip
    assert toy.SEEN[-1][1]["error"] is None


def test_observer_that_fails_changes_nothing(
    make: Make,
    plugins: Plugins,
    toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full(list):  # type: ignore[type-arg]
        def append(self, item: Any) -> None:
            raise RuntimeError("no room")

    recipe, run = make()
    monkeypatch.setattr(toy, "SEEN", Full())
    monkeypatch.setattr(toy.Toy, "prepare", lambda self: None)
    run_recipe(recipe, plugins, run)
    assert run.status["state"] == "finished"
    assert capsys.readouterr().err.count("RuntimeError: no room") == 1


def test_stage_is_given_the_checkpoint_that_it_names(
    make: Make, plugins: Plugins, tmp_path: Path
) -> None:
    recipe, run = make()
    run_recipe(recipe, plugins, run)
    best = run.stage("one") / "checkpoints" / "step-000002"
    told = read_json(run.stage("two") / "checkpoints" / "step-000002" / "ctfw.json")
    assert told == {"from": {"start_from": str(best)}}
    recipe, other = make("stages={one: {use: note, start_from: " + str(run.path) + "}}")
    run_recipe(recipe, plugins, other)
    told = read_json(other.stage("one") / "checkpoints" / "step-000002" / "ctfw.json")
    assert told["from"]["start_from"].endswith("stages/two/checkpoints/step-000002")


def test_profile_is_known_again_when_a_run_is_taken_up(plugins: Plugins, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "small.yaml").write_text("ctfw: 1\nseed: 3\n")
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE + "profile: small\n")
    recipe = checked(str(file), (), None, plugins)
    run = create(recipe, tmp_path / "runs")
    _, resumed = reopen(run.path, plugins)
    assert (resumed.profile, resumed.hash) == ("small", recipe.hash)


def test_finished_stages_are_not_run_again(make: Make, plugins: Plugins, toy: Any) -> None:
    recipe, run = make()
    toy.TROUBLE[:] = [ZeroDivisionError("oh")]
    with pytest.raises(ZeroDivisionError):
        run_recipe(recipe, plugins, run)
    assert run.finished("one") is None
    toy.SEEN.clear()
    again, resumed = reopen(run.path, plugins)
    run_recipe(resumed, plugins, again)
    assert [f["stage"] for name, f in toy.SEEN if name == "stage"] == ["one", "two"]
    toy.SEEN.clear()
    run_recipe(recipe, plugins, run)
    assert [name for name, _ in toy.SEEN] == ["started", "prepare", "finished"]


@pytest.mark.parametrize(
    ("trouble", "state", "words"),
    [
        (UserError("mend it"), "failed", "mend it"),
        (ZeroDivisionError("oh"), "failed", "ZeroDivisionError: oh"),
        (KeyboardInterrupt(), "stopped", "interrupted"),
    ],
)
def test_status_page_and_observers_hear_how_it_ended(
    trouble: BaseException, state: str, words: str, make: Make, plugins: Plugins, toy: Any
) -> None:
    recipe, run = make()
    toy.TROUBLE[:] = [trouble]
    with pytest.raises(type(trouble)):
        run_recipe(recipe, plugins, run)
    status = run.status
    assert (status["state"], status["stage"]) == (state, "one")
    assert words in status["error"]
    assert ("Traceback" in status["error"]) is isinstance(trouble, ZeroDivisionError)
    assert toy.SEEN[-1] == ("finished", {"run": run.path, "error": trouble})
    assert (run.path / "report.html").is_file()


def test_fault_of_the_page_does_not_hide_the_fault_of_the_run(
    make: Make, plugins: Plugins, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise ValueError("no page")

    monkeypatch.setattr(ctfw.page.build, "build_page", broken)
    recipe, run = make()
    toy.TROUBLE[:] = [UserError("mend it")]
    with pytest.raises(UserError, match="mend it"):
        run_recipe(recipe, plugins, run)
    assert read_lines(run.path / "events.jsonl")[-1]["error"] == "ValueError: no page"
    recipe, run = make()
    with pytest.raises(ValueError, match="no page"):
        run_recipe(recipe, plugins, run)


def test_stage_that_cannot_be_built_is_told_before_the_data_are_made(
    make: Make, plugins: Plugins, toy: Any
) -> None:
    recipe, run = make("stages.two.refuse=true")
    with pytest.raises(UserError, match=r"stages.two: refused"):
        run_recipe(recipe, plugins, run)
    assert [name for name, _ in toy.SEEN] == ["started", "finished"]


def test_split_without_cases_is_named(make: Make, plugins: Plugins) -> None:
    recipe, run = make("data.count=0")
    with pytest.raises(BadData, match="data 'toy': the train split has no cases"):
        run_recipe(recipe, plugins, run)


def test_facts_of_the_data_are_kept(make: Make, plugins: Plugins) -> None:
    recipe, run = make()
    run_recipe(recipe, plugins, run)
    facts = read_json(run.path / "data.json")
    assert facts["train"]["cases"] == facts["train"]["patients"] == 4
    assert len({facts[split]["fingerprint"] for split in ("train", "validation", "test")}) == 3
    assert facts["quarantined"] == 0


def test_folder_holds_the_recipe_as_written_and_resolved(make: Make, plugins: Plugins) -> None:
    recipe, run = make("data.count=3")
    assert (run.path / "recipe.yaml").read_text() == RECIPE
    assert run.status == {"state": "created", "hash": recipe.hash, "name": "toy"}
    _, again = reopen(run.path, plugins)
    assert again.hash == recipe.hash
    assert again.data.settings == recipe.data.settings


def test_edited_run_is_not_resumed(make: Make, plugins: Plugins) -> None:
    _, run = make()
    file = run.path / "resolved.yaml"
    file.write_text(file.read_text().replace("count: 4", "count: 5"))
    with pytest.raises(UserError, match=r"does not give the run's hash .* Start a new run"):
        reopen(run.path, plugins)


def test_runs_are_found_by_their_hash(make: Make, tmp_path: Path) -> None:
    recipe, first = make()
    _, second = make()
    other, _ = make("seed=1")
    found = find_runs(tmp_path / "runs", recipe.hash)
    assert {run.path for run in found} == {first.path, second.path}
    assert len(find_runs(tmp_path / "runs", other.hash)) == 1
    assert find_runs(tmp_path / "nowhere", recipe.hash) == []


def test_missing_deepspeed_is_told_before_a_folder_is_made(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctfw.engine.launch as launch

    everything = load_plugins(
        discover=False, extra={"ctfw": importlib.import_module("ctfw_plugins")}
    )
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    file = tmp_path / "r.yaml"
    file.write_text("ctfw: 1\nextends: ours_heter\ntraining: {engine: deepspeed-zero2}\n")
    with pytest.raises(RecipeInvalid) as caught:
        checked(str(file), (), None, everything)
    assert str(caught.value) == (
        f"{file}:3:20: training.engine: deepspeed-zero2 needs DeepSpeed, which is not installed "
        "(run: DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed, or --set "
        "training.engine=accelerate)"
    )


def test_launcher_that_tells_too_little_is_told_of(
    make: Make, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = make()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"but RANK, LOCAL_RANK, .*ctfw run --nproc"):
        run_recipe(recipe, plugins, run)


def test_nothing_of_deepspeed_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    quiet_libraries()
    logger = logging.getLogger("DeepSpeed")  # as deepspeed/utils/logging.py makes it, later
    handler = logging.StreamHandler(stream=sys.stdout)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        logger.warning("Setting accelerator to CPU.")
    finally:
        logger.removeHandler(handler)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Setting accelerator to CPU.\n"
