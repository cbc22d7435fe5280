"""A checkpoint is there whole or not at all, and the last good one outlives every failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ctfw.engine.checkpoint import Checkpoints, check_model, read_facts, read_training
from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.directory import checkpoint_of
from ctfw.runs.files import read_json


class Weights:
    """Saves a number."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text(str(self.value))


def save(checkpoints: Checkpoints, step: int, best: bool = False, **training: Any) -> Path:
    backbone: Any = Weights(step)
    return checkpoints.save(step, backbone, {"recipe": "r"}, {"step": step, **training}, best=best)


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "tune")


def test_last_and_best_are_pointed_at_and_the_rest_is_dropped(checkpoints: Checkpoints) -> None:
    assert checkpoints.last() is None
    save(checkpoints, 1)
    assert names(checkpoints) == ["best", "last", "step-000001"]  # the first is the best so far
    save(checkpoints, 2, best=True)
    save(checkpoints, 3)
    save(checkpoints, 4)
    assert names(checkpoints) == ["best", "last", "step-000002", "step-000004"]
    assert checkpoints.last() == checkpoints.folder / "step-000004"
    stage = checkpoints.folder.parent
    assert checkpoint_of(stage, "best") == checkpoints.folder / "step-000002"
    assert checkpoint_of(stage, "last") == checkpoints.last()


def test_there_is_another_one_to_go_back_to_when_the_last_is_the_best(
    checkpoints: Checkpoints,
) -> None:
    for step in (1, 2, 3):
        save(checkpoints, step, best=True)
    assert names(checkpoints) == ["best", "last", "step-000002", "step-000003"]
    save(checkpoints, 4)
    assert names(checkpoints) == ["best", "last", "step-000003", "step-000004"]


@pytest.mark.parametrize("content", ["", "step-000009\n"])
def test_broken_pointer_is_told_with_what_it_could_name(
    content: str, checkpoints: Checkpoints
) -> None:
    save(checkpoints, 1)
    (checkpoints.folder / "last").write_text(content)
    with pytest.raises(BadCheckpoint, match=f"says '{content.strip()}'; there are: step-000001"):
        checkpoints.last()


@pytest.mark.parametrize("name", ["model/weights", "ctfw.json"])
def test_damaged_model_is_found(name: str, checkpoints: Checkpoints) -> None:
    folder = save(checkpoints, 7)
    check_model(folder)
    flip_a_bit(folder / name)
    with pytest.raises(BadCheckpoint, match=f"{name} is damaged"):
        check_model(folder)


def test_damaged_facts_are_not_read(checkpoints: Checkpoints) -> None:
    folder = save(checkpoints, 7)
    file = folder / "ctfw.json"
    flip_a_bit(file, file.read_bytes().index(b"7"))  # a step that is a number still
    assert read_json(file)["step"] == 6
    with pytest.raises(BadCheckpoint, match=r"ctfw.json is damaged"):
        read_facts(folder)


def test_damaged_state_is_found(checkpoints: Checkpoints) -> None:
    folder = save(checkpoints, 7, moments=torch.zeros(1000))
    file = folder / "training.pt"
    place = file.read_bytes().index(bytes(1000))  # in the numbers, where torch.load sees nothing
    flip_a_bit(file, place)
    assert torch.load(file, weights_only=True)["moments"].any()
    with pytest.raises(BadCheckpoint, match=r"training.pt is damaged"):
        read_training(folder)


def flip_a_bit(file: Path, place: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_checkpoint_holds_model_facts_and_state(checkpoints: Checkpoints) -> None:
    state = {"momentum": torch.arange(3.0)}
    folder = save(checkpoints, 7, optimizer=state, best_loss=0.25)
    assert (folder / "model" / "weights").read_text() == "7"
    assert read_facts(folder) == {"recipe": "r", "step": 7}
    training = read_training(folder)
    assert training["best_loss"] == 0.25
    assert torch.equal(training["optimizer"]["momentum"], state["momentum"])


def test_half_written_folder_is_ignored_and_removed(checkpoints: Checkpoints) -> None:
    good = save(checkpoints, 1)
    half = checkpoints.folder / ".step-000002.4711.tmp"
    (half / "model").mkdir(parents=True)
    assert checkpoints.last() == good
    save(checkpoints, 2)
    assert names(checkpoints) == ["best", "last", "step-000001", "step-000002"]


def test_folder_that_nothing_points_at_yet_is_replaced(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    stale = checkpoints.folder / "step-000002"
    (stale / "junk").mkdir(parents=True)
    folder = save(checkpoints, 2)
    written = ["checksums.json", "ctfw.json", "model", "training.pt"]
    assert sorted(path.name for path in folder.iterdir()) == written


def disk_full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def test_full_disk_keeps_the_last_good_one(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(checkpoints, 1, best=True)
    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(UserError) as caught:
        save(checkpoints, 2, best=True)
    assert str(caught.value) == (
        f"cannot write the checkpoint of step 2 to {checkpoints.folder}: No space left on device; "
        "the last good one is kept, `ctfw resume` goes on from it"
    )
    assert names(checkpoints) == ["best", "last", "step-000001"]
    assert read_training(checkpoints.folder / "step-000001")["step"] == 1


REAL_LIMIT = """
import resource, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from ctfw.engine.checkpoint import Checkpoints
from ctfw.errors import UserError

class Model:
    def save(self, folder):
        folder.mkdir()
        save_file({"w": torch.zeros(%(model)s)}, str(folder / "model.safetensors"))

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
checkpoints = Checkpoints(Path(sys.argv[1]))
try:
    checkpoints.save(3, Model(), {}, {"state": torch.zeros(%(state)s)}, best=True)
except UserError as error:
    print(error)
    print([p.name for p in checkpoints.folder.iterdir()])
"""


@pytest.mark.parametrize("sizes", [{"model": 10, "state": 10**6}, {"model": 10**6, "state": 10}])
def test_write_that_really_fails_is_no_crash(sizes: dict[str, int], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL_LIMIT % sizes, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *message, left = done.stdout.splitlines()
    assert message[0].startswith(f"cannot write the checkpoint of step 3 to {tmp_path}")
    assert message[-1].endswith("; there is no earlier one")
    assert left == "[]"


def test_state_is_read_without_pickle(checkpoints: Checkpoints) -> None:
    folder = save(checkpoints, 1)
    torch.save({"code": Weights()}, folder / "training.pt")
    (folder / "checksums.json").unlink()
    with pytest.raises(
        BadCheckpoint, match=r"training.pt cannot be read \(UnpicklingError: [^.]*\); the stage"
    ):
        read_training(folder)


@pytest.mark.parametrize("content", [None, "", '{"half', "[1]"])
def test_facts_that_are_missing_or_broken_are_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ctfw.json").write_text(content)
    with pytest.raises(BadCheckpoint, match=str(tmp_path)):
        read_facts(tmp_path)


def test_kill_between_the_pointers_leaves_a_state_that_ends_alike(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctfw.engine.checkpoint as module

    save(checkpoints, 1, best=True)
    original = module.write_pointer
    calls: list[str] = []

    def killed(folder: Path, name: str, target: str) -> None:
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(folder, name, target)

    monkeypatch.setattr(module, "write_pointer", killed)
    with pytest.raises(KeyboardInterrupt):
        save(checkpoints, 2, best=True)
    monkeypatch.setattr(module, "write_pointer", original)
    # `last` is still the step before, so step 2 is made again and found to be the best again.
    last = checkpoints.last()
    assert last is not None
    assert read_json(last / "ctfw.json")["step"] == 1
    save(checkpoints, 2, best=True)
    assert checkpoint_of(checkpoints.folder.parent, "best").name == "step-000002"
