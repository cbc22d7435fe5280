"""Runs side by side: what differs, and means over seeds of what is otherwise the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctfw.cli.compare import print_comparison
from ctfw.cli.overview import overview
from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.runs.compare import (
    Outcome,
    Shown,
    by_seed,
    columns,
    copies_in_words,
    differing,
    flat,
    newest,
    read_outcome,
    report_stage,
)
from ctfw.runs.files import write_json

RESOLVED = """\
ctfw: 1
name: {name}
seed: {seed}
synthetic: true
training: {{max_steps: {steps}}}
stages:
  tune:
    use: ctfw/finetune@1
    loss: {loss}
  test:
    use: ctfw/report@1
"""
BOUNDED = "{use: ctfw/bounded-contrast@1, beta: 0.1}"
PLAIN = "{use: ctfw/cross-entropy@1}"


PROTOCOLS = {"bleu-4": "r2gen|corpus", "macro-f1": "pooled cells|18 labels"}
F1 = Shown("macro-f1", PROTOCOLS["macro-f1"], "macro-f1")


def outcome_of(path: Path) -> Outcome:
    return read_outcome(path, load_plugins(only="none").catalog)


def scores(macro_f1: float, gain: float | None = None) -> dict[str, Any]:
    values = {
        "bleu-4": {"value": 0.2, "low": 0.1, "high": 0.3},
        "macro-f1": {"value": macro_f1, "low": macro_f1 - 0.1, "high": macro_f1 + 0.1},
    }
    rows = [{"kind": "floor", "values": {}}, {"kind": "model", "values": values}]
    return {
        "table": {
            "columns": [{"name": n, "protocol": p} for n, p in PROTOCOLS.items()],
            "rows": rows,
        },
        "reliance": {
            "grounded_gain": None if gain is None else {"value": gain, "low": None, "high": None},
            "likelihood": {"another": {"value": 1.0, "low": 0.5, "high": 1.5}},
        },
    }


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Write a run; returns its folder."""

    def write(
        name: str,
        seed: int = 0,
        loss: str = BOUNDED,
        f1: float | None = None,
        steps: int = 9,
        **status: Any,
    ) -> Path:
        run = tmp_path / name / f"20260101-00000{len(list(tmp_path.glob('*/*')))}-abc"
        run.mkdir(parents=True)
        text = RESOLVED.format(name=name, seed=seed, loss=loss, steps=steps)
        (run / "resolved.yaml").write_text(text)
        state = "finished" if f1 is not None else "failed"
        write_json(run / "status.json", {"state": state, **status})
        if f1 is not None:
            write_json(run / "stages" / "test" / "scores.json", scores(f1, f1 / 2))
        return run

    return write


def test_outcome_holds_settings_scores_and_reliance(made: Any) -> None:
    run = made("a", f1=0.5)
    outcome = outcome_of(run)
    assert (outcome.name, outcome.state, outcome.synthetic) == ("a", "finished", True)
    assert outcome.settings["stages.tune.loss.beta"] == 0.1
    assert "name" not in outcome.settings
    assert outcome.scores["macro-f1"] == (0.5, 0.4, 0.6)
    assert outcome.scores["grounded-gain"] == (0.25, None, None)
    assert outcome.scores["likelihood-reliance"] == (1.0, 0.5, 1.5)
    assert [column.title for column in columns([outcome])] == [
        "bleu-4",
        "macro-f1",
        "grounded-gain",
        "likelihood-reliance",
    ]


def test_folder_of_a_recipe_means_its_newest_run(made: Any, tmp_path: Path) -> None:
    made("a", f1=0.5)
    second = made("a", f1=0.6)
    assert newest(tmp_path / "a") == second
    assert newest(second) == second
    with pytest.raises(UserError, match=r"neither a run nor .* name them, e\.g\. runs/\*/\*"):
        newest(tmp_path)


def test_only_what_differs_is_listed(made: Any) -> None:
    outcomes = [outcome_of(made("a", f1=0.5)), outcome_of(made("b", seed=1, f1=0.5, steps=7))]
    assert differing(outcomes) == ["seed", "training.max_steps"]
    assert differing(outcomes[:1]) == []


def test_nested_settings_become_dotted_paths() -> None:
    assert flat({"a": {"b": [1, {"c": None}]}, "d": "x"}) == [
        ("a.b.0", 1), ("a.b.1.c", None), ("d", "x"),
    ]  # fmt: skip


def test_seeds_are_pooled_and_nothing_else(made: Any) -> None:
    outcomes = [
        outcome_of(made("heter", seed, f1=f1)) for seed, f1 in ((0, 0.4), (1, 0.5), (2, 0.9))
    ]
    outcomes.append(outcome_of(made("origin", 0, PLAIN, f1=0.2)))
    heter, origin = by_seed(outcomes)
    assert [len(heter.members), len(origin.members)] == [3, 1]
    assert heter.mean(F1) == (pytest.approx(0.6), pytest.approx(0.2645751))
    assert origin.mean(F1) == (pytest.approx(0.2), 0.0)
    assert heter.mean(F1._replace(name="absent")) is None


def test_same_run_made_twice_is_no_second_seed_and_the_first_counts(made: Any) -> None:
    outcomes = [outcome_of(made("a", f1=f1)) for f1 in (None, 0.4, 0.5)]
    (group,) = by_seed(outcomes)
    assert [member.scores["macro-f1"][0] for member in group.members] == [0.4]
    names = {outcome.key: name for outcome, name in zip(outcomes, "xyz", strict=True)}
    assert copies_in_words([group], names) == [
        f"{name} is left out of means and comparisons: it has the recipe and the seed of y"
        for name in "xz"
    ]


def test_runs_of_other_numbers_of_processes_are_other_methods(made: Any) -> None:
    told = [{}, {"processes": 1}, {"processes": 2}]
    outcomes = [outcome_of(made("a", f1=0.4, **each)) for each in told]
    assert differing(outcomes) == ["processes"]
    one, two = by_seed(outcomes)  # a run that has kept no number was one process
    assert [member.path for member in one.members] == [outcomes[0].path]
    assert [copy.path for copy, _ in one.copies] == [outcomes[1].path]
    assert [member.path for member in two.members] == [outcomes[2].path]
    header, *rows = overview(outcomes, [], markdown=True)[0].splitlines()
    assert header.startswith("| run | processes |")
    assert [row.split(" | ")[1] for row in rows[1:]] == ["1", "1", "2"]


def test_missing_score_of_a_member_leaves_no_mean(made: Any) -> None:
    outcomes = [outcome_of(made("a", 0, f1=0.4)), outcome_of(made("a", 1))]
    (group,) = by_seed(outcomes)
    assert group.mean(F1) is None


def test_table_shows_swapped_parts_once(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [made("heter", f1=0.5), made("origin", 0, PLAIN, f1=0.25), made("late", 0, PLAIN)]
    print_comparison(runs)
    out, err = capsys.readouterr()
    assert err == "SYNTHETIC data: the scores say nothing about patients\n"
    table, notes = out.rstrip().split("\n\n")
    assert notes.splitlines()[0] == "- SYNTHETIC data: the scores say nothing about patients"
    header, heter, origin, late = table.splitlines()
    assert header.split() == [
        "run", "tune.loss", "bleu-4", "macro-f1", "grounded-gain", "likelihood-reliance",
    ]  # fmt: skip
    assert heter.split("  ")[0] == f"heter/{runs[0].name}"
    assert "bounded-contrast" in heter
    assert "0.500 [0.40, 0.60]" in heter
    assert "cross-entropy" in origin
    assert late.split()[:2] == [f"late/{runs[2].name}", "(failed)"]
    assert late.split()[-4:] == ["–"] * 4


def test_markdown_has_a_table_of_means(made: Any) -> None:
    outcomes = [outcome_of(made("a", 0, f1=0.4)), outcome_of(made("a", 1, f1=0.6))]
    single, means, notes = overview(outcomes, ["a note"], markdown=True)
    assert notes.splitlines()[:2] == ["- a note", r"- bleu-4: r2gen\|corpus"]
    assert single.splitlines()[0] == (
        "| run | seed | bleu-4 | macro-f1 | grounded-gain | likelihood-reliance |"
    )
    title, blank, *rows = means.splitlines()
    assert (title, blank) == ("mean over seeds (standard deviation)", "")
    assert rows[2].startswith("| a | 2 | 0.200 (0.000) | 0.500 (0.141) |")


def test_stage_of_a_run_has_the_scores_of_that_stage_alone(made: Any) -> None:
    run = made("a", f1=0.5)
    with (run / "resolved.yaml").open("a") as file:
        file.write("  late: {use: ctfw/report@1}\n")
    late = run / "stages" / "late"
    write_json(late / "scores.json", scores(0.9))
    for stage in ("test", "late"):
        (run / "stages" / stage / "predictions.jsonl").touch()
    assert outcome_of(run / "stages" / "test").scores["macro-f1"][0] == 0.5
    assert outcome_of(late).scores["macro-f1"][0] == 0.9
    assert report_stage(late) == late.resolve()
    with pytest.raises(
        UserError, match=r"predictions of several stages; name one of .*late, .*test"
    ):
        report_stage(run)
    assert report_stage(made("b")) is None


def test_damaged_scores_are_refused_with_their_file(made: Any) -> None:
    run = made("a", f1=0.5)
    for facts in ({}, {"table": {"columns": [], "rows": []}}):
        write_json(run / "stages" / "test" / "scores.json", facts)
        with pytest.raises(UserError, match=r"test/scores\.json is damaged: it has no scores"):
            outcome_of(run)


def test_nothing_to_compare_is_told() -> None:
    with pytest.raises(UserError, match="no runs to compare"):
        print_comparison([])
