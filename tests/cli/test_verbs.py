"""The light verbs: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ctfw
from ctfw import cli
from ctfw.errors import UserError
from ctfw.recipe.load import parse

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
ctfw: 1
summary: a small recipe
data: {use: toy}
backbone: {use: tiny}
stages:
  tune: {use: finetune, loss: {use: cross-entropy}}
"""


@pytest.fixture
def here(install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `good.yaml`; the stand-ins are the built-ins."""
    install("builtin")
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def ctfw_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """(exit code, stdout, stderr) of a call of the command line."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


Says = Callable[..., tuple[int, str, str]]


def test_help_lists_every_verb_in_its_panel(ctfw_says: Says) -> None:
    code, out, _ = ctfw_says("--help")
    assert code == 0
    for name, verb in cli.VERBS.items():
        assert any(name in line and verb.help in line for line in out.splitlines())
        assert verb.panel in out


@pytest.mark.parametrize("name", cli.VERBS)
def test_verb_exists_and_has_help(name: str, ctfw_says: Says) -> None:
    code, out, err = ctfw_says(name, "--help")
    assert (code, err) == (0, "")
    assert "Usage: ctfw " + name in out


def test_no_arguments_print_help(ctfw_says: Says) -> None:
    code, out, err = ctfw_says()
    assert "validate" in out + err
    assert code in (0, 2)


def test_version(ctfw_says: Says) -> None:
    assert ctfw_says("--version") == (0, f"ctfw {ctfw.__version__}\n", "")


def test_unknown_verb_gets_a_suggestion(ctfw_says: Says) -> None:
    code, _, err = ctfw_says("validat")
    assert code == 2
    assert "Did you mean 'validate'?" in err


def test_validate_says_ok_on_stdout(ctfw_says: Says) -> None:
    code, out, err = ctfw_says("validate", "good.yaml")
    assert (code, err) == (0, "")
    assert out.startswith("good.yaml: ok (tune, ")


def test_validate_checks_every_recipe_and_ends_with_2(ctfw_says: Says, here: Path) -> None:
    (here / "bad.yaml").write_text(RECIPE.replace("cross-entropy", "cross-entrpy"))
    code, out, err = ctfw_says("validate", "bad.yaml", "gone", "good.yaml")
    assert code == 2
    assert out.startswith("good.yaml: ok")
    assert "bad.yaml:6:37: no loss named 'cross-entrpy'. Did you mean 'cross-entropy'?" in err
    assert "no recipe 'gone'" in err
    assert "Traceback" not in err


def test_validate_portable_skips_what_depends_on_the_machine(ctfw_says: Says) -> None:
    override = ("--set", "data.root=${env:CTFW_NOWHERE}/x")
    code, _, err = ctfw_says("validate", "good.yaml", *override)
    assert code == 2
    assert "the environment variable CTFW_NOWHERE is not set" in err
    assert ctfw_says("validate", "good.yaml", "--portable", *override)[0] == 0
    assert ctfw_says("validate", "good.yaml", "--set", "data.root=/no/where")[0] == 2


def test_validate_imports_finds_a_declaration_without_code(
    ctfw_says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ctfw_says("validate", "good.yaml", "--imports")[0] == 0
    import fake_builtin

    monkeypatch.delattr(fake_builtin, "Built")
    code, _, err = ctfw_says("validate", "good.yaml", "--imports")
    assert code == 2
    assert "fake_builtin has no 'Built'; the plugin's declaration and its code disagree" in err


def test_validate_counts_variants(ctfw_says: Says, here: Path) -> None:
    (here / "sweep.yaml").write_text("extends: good\nmatrix: {seed: [1, 2, 3]}")
    assert ctfw_says("validate", "sweep.yaml")[1] == "sweep.yaml: ok (3 variants)\n"


def test_show_prints_a_recipe_that_can_be_run(ctfw_says: Says, here: Path) -> None:
    code, out, _ = ctfw_says("show", "good.yaml", "--set", "seed=4")
    assert code == 0
    assert parse(out, "out").plain()["seed"] == 4
    (here / "again.yaml").write_text(out)
    assert ctfw_says("show", "again.yaml")[1] == out


def test_show_diff_is_a_markdown_table(ctfw_says: Says, here: Path) -> None:
    (here / "other.yaml").write_text("extends: good\nstages: {tune: {loss: {use: dpo}}}")
    code, out, _ = ctfw_says("show", "good.yaml", "--diff", "other.yaml")
    assert code == 0
    assert out.splitlines()[:2] == ["| setting | good.yaml | other.yaml |", "|---|---|---|"]
    assert "| `stages.tune.loss.use` | ctfw/cross-entropy@1 | ctfw/dpo@1 |" in out
    assert "| `stages.tune.loss.beta` | (absent) | 0.1 |" in out
    assert "seed" not in out


def test_show_reads_a_run_without_its_plugins(ctfw_says: Says, here: Path) -> None:
    run = here / "run"
    run.mkdir()
    (run / "resolved.yaml").write_text("ctfw: 1\ndata: {use: ctfw-x/gone@1}\n")
    (run / "lock.json").write_text(json.dumps({"ctfw": "0.1.0", "plugins": {"ctfw-x": "2.0"}}))
    code, out, err = ctfw_says("show", "run")
    assert code == 0
    assert "ctfw-x/gone@1" in out
    assert err == "made with: pip install ctfw==0.1.0 ctfw-x==2.0\n"
    assert ctfw_says("show", str(here))[0] == 2


def test_recipes_are_listed_printed_and_copied(ctfw_says: Says, here: Path) -> None:
    listed = ctfw_says("recipes")[1]
    assert "ours_heter " in listed
    assert "ablations/table1" in listed
    assert "profiles/phantom" in listed
    shipped = (ROOT / "recipes" / "ours_heter.yaml").read_text()
    assert ctfw_says("recipes", "ours-heter")[1] == shipped
    code, out, err = ctfw_says("recipes", "ours_heter", "--copy-to", "mine")
    assert (code, out) == (0, f"{Path('mine', 'ours_heter.yaml')}\n")
    assert "ctfw run" in err
    assert (here / "mine" / "ours_heter.yaml").read_text() == shipped
    code, _, err = ctfw_says("recipes", "ours_heter", "--copy-to", "mine")
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("profiles/ct-rate", "ctfw run RECIPE --profile mine/ct-rate.yaml"),
        ("ablations/table1", "ctfw sweep mine/table1.yaml"),
        ("origin", "ctfw run mine/origin.yaml"),
    ],
)
def test_copy_comes_with_the_command_that_uses_it(
    ctfw_says: Says, here: Path, name: str, command: str
) -> None:
    assert ctfw_says("recipes", name, "--copy-to", "mine")[2] == f"run it with: {command}\n"


def test_every_shipped_recipe_and_profile_says_what_it_is_for(ctfw_says: Says) -> None:
    for line in ctfw_says("recipes")[1].splitlines():
        assert "  " in line, f"{line} has no summary"
        assert "(broken" not in line


def test_unknown_recipe_gets_a_suggestion(ctfw_says: Says) -> None:
    code, _, err = ctfw_says("recipes", "ours_hetr")
    assert code == 2
    assert "no recipe 'ours_hetr' (did you mean 'ours_heter'?)" in err


def test_copied_ablation_still_finds_the_recipe_it_extends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    assert cli.main(["recipes", "ablations/table1", "--copy-to", "."]) == 0
    assert cli.main(["validate", "table1.yaml", "--portable"]) == 0
    assert "variants" in capsys.readouterr().out


def test_schema_goes_to_stdout_or_to_a_file(ctfw_says: Says, here: Path) -> None:
    out = ctfw_says("schema")[1]
    assert json.loads(out)["title"] == "ctfw recipe"
    assert ctfw_says("schema", "--out", "recipe.schema.json") == (0, "", "")
    assert (here / "recipe.schema.json").read_text() == out


def test_output_that_cannot_be_written_is_named(ctfw_says: Says) -> None:
    code, _, err = ctfw_says("schema", "--out", "no/such/folder/x.json")
    assert code == 2
    assert err == "no/such/folder/x.json: No such file or directory\n"


def test_plugins_lists_what_failed_and_why(
    ctfw_says: Says, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("ctfw-broken", "ctfw-typo")
    monkeypatch.setenv("CTFW_PLUGINS", "ctfw-broken,ctfw-typo,ctfw-gone")
    code, out, _ = ctfw_says("plugins")
    assert code == 0
    assert "ctfw-broken 0.2.0  FAILED ModuleNotFoundError: No module named" in out
    assert "FAILED unknown hook 'ctfw_negative_sampler', did you mean" in out
    assert "is named in CTFW_PLUGINS and not installed" in out
    assert "ctfw/heter@1  the heter of the tests" in out
    assert "not usable here: needs 'not-a-package>=2'" in out
    code, _, err = ctfw_says("plugins", "--check")
    assert code == 2
    assert "ctfw-broken: ModuleNotFoundError" in err


def test_plugins_describes_a_component_with_its_settings(ctfw_says: Says) -> None:
    code, out, _ = ctfw_says("plugins", "heter")
    assert code == 0
    assert out == (
        "negative sampler ctfw/heter@1: the heter of the tests\n"
        "  min_label_distance  = 10  labels that must differ\n"
    )
    assert ctfw_says("plugins", "hetr")[2] == (
        "no plugin and no component is called 'hetr'; did you mean 'heter'?\n"
    )


def test_defaults_are_written_as_a_recipe_would(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    for name in ("heter", "finetune", "phantom", "hu-window", "report"):
        assert cli.main(["plugins", name]) == 0
    out = capsys.readouterr().out
    assert "  max_uses            = null  times" in out
    assert "= (18 values)" in out
    assert "= false " in out
    assert "= test " in out
    assert not re.search(r"= (None|False|\(\'|\')|Training\(", out)


def test_plugins_check_imports_every_target(ctfw_says: Says) -> None:
    assert ctfw_says("plugins", "--check")[1].endswith("17 components imported\n")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("mend it"), 2, "mend it\n"),
        (ZeroDivisionError("oh"), 1, "ctfw crashed: ZeroDivisionError: oh\n"),
        (PermissionError(13, "Permission denied", "out.json"), 2, "out.json: Permission denied\n"),
    ],
)
def test_exit_codes(
    error: Exception, code: int, text: str, ctfw_says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ctfw.cli.schema.json_schema", fail)
    found, _, err = ctfw_says("schema")
    assert found == code
    assert err.startswith(text)
    assert "Traceback" not in err


def test_reader_that_goes_away_gets_no_traceback(here: Path) -> None:
    code = "import sys; from ctfw.cli import main; sys.exit(main(['schema']))"
    done = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    done.stdout.close()
    _, err = done.communicate()
    assert err == ""
    assert done.returncode in (0, 1)


def test_nothing_is_written_by_looking(ctfw_says: Says, here: Path) -> None:
    before = sorted(os.listdir(here))
    for arguments in (["validate", "good.yaml"], ["show", "good.yaml"], ["plugins"], ["recipes"]):
        ctfw_says(*arguments)
    assert sorted(os.listdir(here)) == before


@pytest.mark.parametrize(
    ("words", "expected", "imported"),
    [("ctfw vali", "validate", False), ("ctfw validate --port", "--portable", True)],
)
def test_completion_imports_a_verb_only_for_its_options(
    words: str, expected: str, imported: bool
) -> None:
    code = (
        "import sys; from ctfw.cli import main\n"
        "try: main([])\n"
        "finally: print('ctfw.cli.validate' in sys.modules, file=sys.stderr)"
    )
    environment = {"_CTFW_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
    )
    assert expected in done.stdout
    assert done.stderr.strip() == str(imported)
