"""What a user can mend ends with exit code 2 and one line that says what, where and how."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ctfw import cli

HEAD = "ctfw: 1\nprofile: phantom\nstages:\n"
TUNE = "  tune: {use: finetune, loss: {use: cross-entropy}}\n"
SMALL = ("data.train=2", "data.validation=2", "data.test=2", "data.workers=1", "training.threads=1")


@dataclass(frozen=True)
class Wrong:
    """A recipe, `--set` texts, other arguments; and the line that must come out."""

    recipe: str
    line: str
    settings: Sequence[str] = field(default=())
    arguments: Sequence[str] = field(default=())


BEFORE_ANYTHING_RUNS = {
    "unknown component": Wrong(
        HEAD + TUNE.replace("cross-entropy", "cross-entrpy"),
        "r.yaml:4:37: no loss named 'cross-entrpy'. Did you mean 'cross-entropy'? Available: "
        "align-contrast, bounded-contrast, cross-entropy.",
    ),
    "component of a plugin that is not installed": Wrong(
        HEAD + TUNE.replace("cross-entropy", "ctfw-nice/hard"),
        "r.yaml:4:37: no loss named 'ctfw-nice/hard'. There is a negative sampler of that name. "
        "Available: align-contrast, bounded-contrast, cross-entropy. No plugin "
        "'ctfw-nice' is installed; if it exists: pip install ctfw-nice.",
    ),
    "misspelt key": Wrong(
        HEAD + TUNE.replace("finetune,", "finetune, freeze_vison: true,"),
        "r.yaml:4:25: stages.tune: 'finetune' has no setting 'freeze_vison'; it takes start_from, "
        "negatives, loss, extra_losses, labeler, freeze_vision, training (did you mean "
        "'freeze_vision'?)",
    ),
    "misspelt key at the top": Wrong(
        HEAD + TUNE + "trainin: {max_steps: 3}\n",
        "r.yaml:5:1: a recipe has no 'trainin'; it takes ctfw, name, summary, profile, extends, "
        "seed, synthetic, data, backbone, labeler, training, generation, metrics, stages, matrix "
        "(did you mean 'training'?)",
    ),
    "wrong type": Wrong(
        HEAD + TUNE + "training: {max_steps: many}\n",
        "r.yaml:5:23: training.max_steps: must be a whole number, not 'many'",
    ),
    "value out of range": Wrong(
        HEAD + TUNE,
        "--set training.learning_rate=-1: training.learning_rate: must be greater than 0, not -1",
        ("training.learning_rate=-1",),
    ),
    "missing setting": Wrong(
        HEAD + "  tune: {use: finetune}\n", "r.yaml:4:3: stages.tune: 'loss' is required"
    ),
    "missing checkpoint": Wrong(
        HEAD + TUNE,
        "--set stages.tune.start_from=./absent: stages.tune.start_from: there is no folder absent",
        ("stages.tune.start_from=./absent",),
    ),
    "missing recipe to extend": Wrong(
        "ctfw: 1\nextends: ./gone.yaml\n" + HEAD.split("\n", 1)[1] + TUNE,
        "r.yaml:2:10: extends: no recipe './gone.yaml' (`ctfw recipes` lists those that are "
        "shipped)",
    ),
    "missing environment variable": Wrong(
        HEAD + TUNE,
        "--set data.root=${env:CTFW_NOWHERE}: data.root: the environment variable CTFW_NOWHERE is "
        "not set, or empty (export CTFW_NOWHERE=..., or --set data.root=...)",
        ("data.root=${env:CTFW_NOWHERE}",),
    ),
    "unknown profile": Wrong(
        HEAD + TUNE,
        "no profile 'nope'; there are: ct-rate, ct-rate-lora, ct-rate-slices, phantom, "
        "phantom_full, table",
        (),
        ("--profile", "nope"),
    ),
    "unknown stage": Wrong(
        HEAD + TUNE + "  test: {use: report, start_from: tun/best}\n",
        "r.yaml:5:35: stages.test.start_from: no stage 'tun'; there are: see, tune, test (did you "
        "mean 'tune'?)",
    ),
    "stage that has no checkpoint": Wrong(
        HEAD + TUNE + "  test: {use: report, start_from: tune/best}\n"
        "  more: {use: report, start_from: test/best}\n",
        "r.yaml:6:35: stages.more.start_from: needs checkpoint, and stage 'test' (report) gives "
        "predictions (these give checkpoint: tune, see)",
    ),
    "circle": Wrong(
        HEAD + "  a: {use: finetune, start_from: b/best, loss: {use: cross-entropy}}\n"
        "  b: {use: finetune, start_from: a/best, loss: {use: cross-entropy}}\n",
        "r.yaml:4:34: stages refer to each other in a circle: a -> b -> a",
    ),
    "no stages": Wrong(
        HEAD.replace("stages:\n", "stages: {}\n"),
        "r.yaml:3:1: stages: a recipe has at least one stage",
    ),
    "a file in the place of the runs": Wrong(
        HEAD + TUNE,
        "cannot write runs into file: Not a directory; choose another folder with --runs",
        (),
        ("--runs", "file"),
    ),
    "a sweep": Wrong(
        HEAD + TUNE + "matrix: {seed: [1, 2]}\n",
        "r.yaml has a matrix: run it with ctfw sweep r.yaml",
    ),
}
AFTER_THE_FOLDER_IS_MADE = {
    "empty data set": Wrong(
        HEAD + TUNE,
        "phantom: the train split is empty; set data.train above 0",
        (*SMALL, "data.train=0"),
    ),
    "split without cases": Wrong(
        HEAD + TUNE,
        "phantom: the test split is empty; set data.test above 0",
        (*SMALL, "data.test=0"),
    ),
    "loss without negatives": Wrong(
        HEAD + TUNE.replace("cross-entropy", "bounded-contrast"),
        "stages.tune: loss 'bounded-contrast' needs negatives; add `negatives: {use: heter}` or "
        "choose loss: {use: cross-entropy}",
        SMALL,
    ),
    "folder of other phantoms": Wrong(
        HEAD + TUNE,
        "phantom: other holds phantoms of other settings (4711, not {fingerprint}); remove the "
        "folder or give another data.root",
        (*SMALL, "data.root=other"),
    ),
    "device that is not there": Wrong(
        HEAD + TUNE,
        "training.device is 'cuda', but torch sees no GPU; set it to auto or cpu",
        (*SMALL, "training.device=cuda", "data.preprocess=[]"),
    ),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Wrong], list[str]]:
    """Lines on stderr of `ctfw run r.yaml`; the exit code is 2 and stdout is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    monkeypatch.setenv("CTFW_CACHE", str(cache))
    monkeypatch.delenv("CTFW_NOWHERE", raising=False)
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"fingerprint": "4711"}')

    def run(wrong: Wrong) -> list[str]:
        Path("r.yaml").write_text(wrong.recipe)
        options = [part for text in wrong.settings for part in ("--set", text)]
        code = cli.main(["run", "r.yaml", *options, *wrong.arguments])
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        return err.splitlines()

    return run


@pytest.mark.parametrize("name", BEFORE_ANYTHING_RUNS)
def test_recipe_is_refused_before_anything_is_written(
    name: str, call: Callable[[Wrong], list[str]], tmp_path: Path
) -> None:
    wrong = BEFORE_ANYTHING_RUNS[name]
    assert call(wrong) == [wrong.line]
    assert sorted(os.listdir(tmp_path)) == ["file", "other", "r.yaml"]


@pytest.mark.parametrize("name", AFTER_THE_FOLDER_IS_MADE)
def test_run_says_why_it_cannot_go_on(
    name: str, call: Callable[[Wrong], list[str]], tmp_path: Path
) -> None:
    wrong = AFTER_THE_FOLDER_IS_MADE[name]
    *talk, line = call(wrong)
    assert re.sub("[0-9a-f]{16}", "{fingerprint}", line) == wrong.line
    (folder,) = (tmp_path / "runs" / "r").iterdir()
    said = "\n".join(talk)
    assert "see: " not in said, "said before any stage has run"
    assert "ctfw resume" not in said, "resuming cannot help: nothing has been done yet"
    assert (folder / "report.html").is_file()


def test_missing_package_is_named_with_the_line_that_installs_it(
    install: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install("ctfw-lacking")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "ctfw-lacking")
    Path("r.yaml").write_text(HEAD + TUNE.replace("{use: cross-entropy}", "{use: needy}"))
    assert cli.main(["run", "r.yaml"]) == 2
    assert capsys.readouterr().err == (
        "r.yaml:4:37: stages.tune.loss: 'needy' needs 'not-a-package>=2', which is not installed; "
        "run: pip install 'not-a-package>=2'\n"
    )
    assert os.listdir(tmp_path) == ["r.yaml"]


def test_all_faults_are_told_at_once(call: Callable[[Wrong], list[str]]) -> None:
    recipe = HEAD + "  tune: {use: finetun}\n" + "training: {max_steps: many, batchsize: 2}\n"
    lines = call(Wrong(recipe, ""))
    assert [line.split(": ")[0] for line in lines] == ["r.yaml:4:15", "r.yaml:5:23", "r.yaml:5:29"]


def test_missing_recipe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "our_heter.yaml"]) == 2
    assert capsys.readouterr().err == ("no recipe 'our_heter.yaml' (did you mean 'ours_heter'?)\n")


@pytest.mark.parametrize("verb", ["resume", "score", "compare"])
def test_folder_that_is_no_run_is_refused(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([verb, str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(tmp_path) in err
    assert " run" in err
