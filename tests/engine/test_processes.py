"""Several processes of one run: started together, speaking once, ending together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw import processes
from ctfw.engine.spawn import exit_code
from ctfw.runs.directory import RunDirectory
from ctfw.runs.fault import Fault, first, forget
from ctfw.runs.files import read_json, read_lines

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
ctfw: 1
name: ranks
data: {{use: few}}
backbone: {{use: weightless}}
stages:
  one: {{use: act, does: {does}, by: {by}}}
  two: {{use: alone}}
"""


class Job:
    """A recipe of ctfw-ranks, and what its processes left."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "notes.jsonl"
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT / "tests" / "distributions" / "ctfw-ranks"),
            "CTFW_PLUGINS": "ctfw,ctfw-ranks",
            "RANKS_NOTES": str(self.notes),
        }
        for name in (*processes.VARIABLES, "WORLD_SIZE", "OMP_NUM_THREADS"):
            self.environment.pop(name, None)

    def command(self, does: str, by: int = 1, *launcher: str) -> list[str]:
        recipe = self.folder / "ranks.yaml"
        recipe.write_text(RECIPE.format(does=does, by=by))
        start = launcher or (sys.executable, "-m", "ctfw")
        options = () if launcher else ("--nproc", "2")
        return [*start, "run", str(recipe), "--runs", str(self.folder / "runs"), *options]

    def __call__(self, *arguments: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    @property
    def run(self) -> Path:
        (run,) = (self.folder / "runs" / "ranks").iterdir()
        return run

    @property
    def status(self) -> dict[str, Any]:
        return dict(read_json(self.run / "status.json"))

    def noted(self, what: str) -> list[int]:
        return [line[what] for line in read_lines(self.notes) if what in line]


@pytest.mark.parametrize("told", [True, False])
def test_process_that_the_lost_connection_ended_is_not_the_cause(
    told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(tmp_path)
    if told:
        first(tmp_path, "j", Fault(1, "failed", "process 1: the disk is full", 2))
    assert exit_code(run, "j", 0, -signal.SIGABRT) == (2 if told else 1)
    assert ("process 0 was ended by SIGABRT" in capsys.readouterr().err) is not told
    assert exit_code(run, "j", 0, 3) == 3


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    "-m", "ctfw",
)  # fmt: skip


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param((), id="nproc"),
        pytest.param(TORCHRUN, id="torchrun", marks=pytest.mark.slow),
    ],
)
def test_processes_meet_and_the_main_one_speaks(job: Job, launcher: tuple[str, ...]) -> None:
    done = job("meet", 1, *launcher)
    assert done.returncode == 0, done.stderr
    met = read_json(job.run / "stages" / "one" / "met.json")
    assert (met["ranks"], met["shared"], met["total"]) == ([0, 1], "from 0", [3.0])
    assert all(int(count) >= 1 for count in met["threads"])
    assert sorted(job.noted("acts")) == [0, 1]
    assert job.noted("alone") == [0]
    assert job.noted("prepared") == [0, 1]  # in turn: the second finds done what the first did
    assert len(read_lines(job.run / "stages" / "one" / "steps.jsonl")) == 1
    assert job.status["state"] == "finished"
    assert done.stderr.count("spoken once") == done.stderr.count("run folder:") == 1
    assert done.stdout.count("report:") == 1
    assert not list(job.run.glob(".fault*"))


@pytest.mark.parametrize("by", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_error_of_one_process_is_told_once_and_ends_all(job: Job, by: int) -> None:
    began = time.monotonic()
    done = job("complain", by)
    assert done.returncode == 2
    told = f"case 7 of process {by} is broken; mend it"
    assert done.stderr.count(told) == 1
    assert "crashed" not in done.stderr
    assert "Traceback" not in done.stderr
    assert (job.status["state"], told in job.status["error"]) == ("failed", True)
    assert (job.run / "report.html").is_file()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("by", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_loss_of_one_process_that_is_no_number_stops_all(job: Job, by: int) -> None:
    done = job("nan", by)
    assert done.returncode == 2
    told = f"stage one: the loss is nan at step 7 (cases case-{by})"
    assert done.stderr.count(told) == done.stderr.count("the loss is") == 1
    assert told in job.status["error"]


@pytest.mark.parametrize("by", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_full_disk_of_one_process_keeps_the_last_checkpoint(job: Job, by: int) -> None:
    done = job("full", by)
    assert done.returncode == 2
    assert done.stderr.count("cannot write the checkpoint of step 2") == 1
    folder = job.run / "stages" / "one" / "checkpoints"
    assert (folder / "last").read_text() == "step-000001\n"
    assert sorted(path.name for path in folder.iterdir()) == ["best", "last", "step-000001"]
    written = sorted(path.name for path in (folder / "step-000001").iterdir())
    shards = ["shard-00000.pt", "shard-00001.pt"]
    assert written == ["checksums.json", "ctfw.json", "model", *shards, "training.pt"]
    told = set(read_json(folder / "step-000001" / "checksums.json")["crc32"])
    assert told == {"ctfw.json", *shards, "training.pt"}  # this backbone's own folder is empty


@pytest.mark.slow
def test_crash_of_one_process_is_told_once_and_ends_all(job: Job) -> None:
    done = job("crash")
    assert done.returncode == 1
    assert done.stderr.count("ctfw crashed:") == 1
    assert "ZeroDivisionError: oh" in done.stderr
    assert job.status["error"].startswith("process 1: Traceback")


def test_process_that_the_system_kills_is_named(job: Job) -> None:
    done = job("die")
    assert done.returncode == 1
    assert done.stderr.count("process 1 was ended by SIGKILL") == 1
    assert "out of memory" in done.stderr
    assert "crashed" not in done.stderr
    assert (job.status["state"], "SIGKILL" in job.status["error"]) == ("failed", True)


@pytest.mark.slow
def test_resumed_run_of_several_processes_does_what_is_left(job: Job) -> None:
    assert job("complain").returncode == 2
    resolved = job.run / "resolved.yaml"
    assert "does: complain" in resolved.read_text()
    arguments = ["resume", str(job.run), "--nproc", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "ctfw", *arguments], env=job.environment, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2  # it complains again, and not of what the first job left behind
    assert done.stderr.count("case 7 of process 1 is broken") == 1
    assert sorted(job.noted("acts")) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "ask", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_stopping_the_launcher_stops_all(job: Job, ask: signal.Signals) -> None:
    process = subprocess.Popen(
        job.command("sleep"), env=job.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: len(job.noted("acts")) == 2)
        process.send_signal(ask)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert job.status["state"] == "stopped"
    assert "crashed" not in told
    assert not alive(job)


@pytest.mark.slow
def test_processes_end_with_a_launcher_that_is_killed(job: Job) -> None:
    process = subprocess.Popen(job.command("sleep"), env=job.environment)
    until(lambda: len(job.noted("acts")) == 2)
    process.kill()
    process.wait()
    until(lambda: not alive(job))


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(job: Job) -> list[int]:
    """Processes that work in the job's run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(job.folder) in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.slow
def test_invalid_recipe_is_told_once_under_torchrun(job: Job) -> None:
    done = job("juggle", 1, *TORCHRUN)
    assert done.stderr.count("juggle") == 1
    assert not (job.folder / "runs").exists()


def test_first_fault_is_the_one_that_counts(tmp_path: Path) -> None:
    mine, theirs = Fault(0, "failed", "lost the line", 1), Fault(1, "failed", "case 7", 2)
    assert first(tmp_path, "a", theirs) == theirs
    assert first(tmp_path, "a", mine) == theirs
    assert first(tmp_path, "b", mine) == mine
    forget(tmp_path, but="b")
    assert first(tmp_path, "b", theirs) == mine
    assert first(tmp_path, "a", mine) == mine
    (tmp_path / ".fault-c").write_text('{"half')
    assert first(tmp_path, "c", mine) == mine


def test_one_process_meets_itself() -> None:
    with processes.joined():
        processes.wait()
        assert processes.share("x") == "x"
        assert processes.gather({"a": 1}) == [{"a": 1}]
        assert processes.totals([1.5, 2.0]) == [1.5, 2.0]
        assert processes.first_here_then_others(lambda: "done") == "done"
    assert (processes.world(), processes.rank(), processes.is_main()) == (1, 0, True)
