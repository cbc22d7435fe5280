"""Runs and files are brought to the same cases, patients and protocols before they are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_runs import LABELER, make_file, make_run, written

from ctfw.errors import UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.alike import ANEW, Method, common_cases, compare_methods, patients_of, unusable
from ctfw.runs.compare import GAIN, RELIANCE
from ctfw.runs.files import read_json, write_json, write_text
from ctfw.runs.scorers import Scorer, run_scorer
from ctfw.runs.spelling import spelling
from ctfw.runs.systems import Source, read_file, read_per_case, read_run
from ctfw.scoring.predictions import bare
from ctfw.types import Prediction


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(only="none")


def source(run: Path, plugins: Plugins, scorer: Scorer | None = None) -> Source:
    return read_run(run / "stages" / "test", plugins, scorer)


def methods(plugins: Plugins, **runs: Path) -> list[Method]:
    return [Method(name, (source(run, plugins),)) for name, run in runs.items()]


def test_run_is_scored_again_as_its_metrics_score_its_predictions(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7)
    read = source(make_run(tmp_path, "a", made), plugins)
    found = read.scores([p.case for p in made])
    reference, generated = (
        np.stack([getattr(p, key) for p in made]) for key in ("reference_labels", "labels")
    )
    assert found["accuracy"].values["accuracy"] == pytest.approx((reference == generated).mean())
    assert found["macro-f1"].protocol.endswith(f"|{LABELER}")
    assert 0 < found["bleu-4"].values["bleu-4"] < 1
    assert GAIN not in found


def test_cases_are_scored_in_the_order_asked_for(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    read = source(make_run(tmp_path, "a", made), plugins)
    some = [made[5].case, made[2].case]
    per_case = read.scores(some)["accuracy"].per_case["accuracy"]
    for case, value in zip(some, per_case, strict=True):
        assert value == read.scores([case])["accuracy"].values["accuracy"]


def test_gain_needs_the_reports_of_every_case_with_another_image(
    tmp_path: Path, plugins: Plugins
) -> None:
    own, other = written(0.9), written(0.3, swapped=True)
    cases = [p.case for p in own]
    found = source(make_run(tmp_path, "a", own, other), plugins).scores(cases)
    swapped = source(make_run(tmp_path, "b", other), plugins).scores(cases)
    expected = found["macro-f1"].values["macro-f1"] - swapped["macro-f1"].values["macro-f1"]
    assert found[GAIN].values[GAIN] == pytest.approx(expected)
    part = source(make_run(tmp_path, "c", own, other[1:]), plugins)
    assert GAIN not in part.scores(cases)
    assert GAIN in part.scores(cases[1:])


def with_per_case(run: Path, header: str, rows: Sequence[str], values: dict[str, float]) -> None:
    """What the run itself wrote per case, and the values of its table."""
    stage = run / "stages" / "test"
    write_text(stage / "per_case.csv", "\n".join([header, *rows]) + "\n")
    facts = read_json(stage / "scores.json")
    facts["table"] = {
        "columns": [
            {"name": n, "protocol": f"{n}|v1", "higher_is_better": n != "errors"} for n in values
        ],
        "rows": [{"kind": "model", "values": {n: {"value": v} for n, v in values.items()}}],
    }
    write_json(stage / "scores.json", facts)


def test_score_of_a_metric_with_a_model_comes_from_what_the_run_wrote(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7, cases=4)
    run = make_run(tmp_path, "a", made)
    rows = [f"{p.case},{p.patient},{i / 4},{i},0.5" for i, p in enumerate(made)]
    values = {"green": 0.375, "errors": 1.5, "pooled": 0.9, "constant": 0.5}
    with_per_case(run, "case,patient,green,errors,pooled", rows, values)
    found = source(run, plugins).scores([made[2].case, made[0].case])
    assert found["green"].per_case["green"].tolist() == [0.5, 0.0]
    assert (found["green"].protocol, found["errors"].lower_is_better) == ("green|v1", {"errors"})
    assert "pooled" not in found  # not the mean of its cases, so it cannot be resampled
    assert not found["green"].lower_is_better


def test_metric_with_a_model_is_not_built(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctfw_plugins.metrics.accuracy import Accuracy

    made = written(0.7, cases=4)
    run = make_run(tmp_path, "a", made)
    monkeypatch.setattr(Accuracy, "needs_model", True, raising=False)
    assert set(source(run, plugins).metrics) == {"bleu"}


def test_likelihood_reliance_is_the_mean_difference_of_the_likelihoods(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7, cases=3)
    run = make_run(tmp_path, "a", made)
    rows = [f"{p.case},word,{i},{2 * i}" for i, p in enumerate(made)]
    with_per_case(run, "case,finish,nll-own,nll-another", rows, {})
    assert read_per_case(run / "stages/test/per_case.csv").keys() == {"nll-own", "nll-another"}
    found = source(run, plugins).scores([p.case for p in made])
    assert found[RELIANCE].per_case[RELIANCE].tolist() == [0, 1, 2]
    assert "another patient's image minus own" in found[RELIANCE].protocol


def with_likelihoods(run: Path, predictions: Sequence[Prediction], reliance: float) -> Path:
    """A run that lost 1 nat per token of each case with another's image; its per_case.csv."""
    rows = [f"{p.case},1,2,0.5" for p in predictions]
    with_per_case(run, "case,nll-own,nll-another,nll-blank", rows, {})
    stage = run / "stages" / "test"
    facts = read_json(stage / "scores.json")
    facts["reliance"] = {"likelihood": {"another": {"value": reliance, "low": 0, "high": 2}}}
    write_json(stage / "scores.json", facts)
    return stage / "per_case.csv"


def test_cut_numbers_per_case_are_refused_and_not_averaged(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7)
    runs = {n: make_run(tmp_path, n, made) for n in ("a", "b")}
    file, _ = (with_likelihoods(run, made, 1.0) for run in runs.values())
    comparison, notes = compare_methods(methods(plugins, **runs), [RELIANCE])
    assert (comparison.systems[0].means[RELIANCE].value, notes) == (1.0, [])
    whole = file.read_text()
    write_text(file, whole[: whole.index("case-9,") + len("case-9,1")])
    with pytest.raises(
        UserError,
        match=r"(?s)no such score in a\n.*per_case\.csv has no whole row for 15 of 24 cases, the "
        r"first is 'case-9': it was cut",
    ) as refused:
        compare_methods(methods(plugins, **runs), [RELIANCE])
    assert "did you mean" not in str(refused.value)
    assert ANEW not in str(refused.value)
    write_text(file, "")
    with pytest.raises(UserError, match=r"no whole row for 24 of 24 cases"):
        compare_methods(methods(plugins, **runs), [RELIANCE])
    assert compare_methods(methods(plugins, **runs), ["macro-f1"])[0].cases == 24


def test_likelihood_reliance_that_is_not_what_the_run_wrote_is_told(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7)
    runs = {n: make_run(tmp_path, n, made) for n in ("a", "b")}
    for run, value in zip(runs.values(), (1.5, 1.0), strict=True):
        with_likelihoods(run, made, value)
    _, notes = compare_methods(methods(plugins, **runs), [RELIANCE])
    assert notes == [
        f"a: {RELIANCE} was 1.5000 in the run and is 1.0000 when its reports are scored"
    ]


def test_cases_without_a_number_are_counted(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    runs = {n: make_run(tmp_path, n, made) for n in ("a", "b")}
    file, _ = (with_likelihoods(run, made, 1.0) for run in runs.values())
    write_text(file, file.read_text().replace("case-3,1,", "case-3,,"))
    _, notes = compare_methods(methods(plugins, **runs), [RELIANCE])
    assert notes == [f"{RELIANCE}: 1 of 24 cases of a have no number and are left out of its mean"]


def test_cases_that_differ_in_folder_and_extension_are_the_same(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7)
    spelt = [replace(p, case=f"test/{p.case}.nii.gz") for p in made]
    runs = {"a": make_run(tmp_path, "a", made), "b": make_run(tmp_path, "b", spelt)}
    for run, rows in zip(runs.values(), (made, spelt), strict=True):
        with_likelihoods(run, rows, 1.0)
    comparison, _ = compare_methods(methods(plugins, **runs), ["macro-f1", RELIANCE])
    assert comparison.cases == 24
    assert comparison.systems[1].contrasts["macro-f1"].value == 0
    assert comparison.systems[1].contrasts[RELIANCE].value == 0


@given(
    st.sets(
        st.sampled_from([f"{f}{n}{e}" for f in ("", "x/") for n in "abc" for e in ("", ".nii")])
    )
)
def test_spelling_never_joins_two_cases(cases: set[str]) -> None:
    known = ["a", "x/b.nii", "y/b.nii", "c.nii.gz"]
    meant = spelling(sorted(cases), known)
    now = [meant.get(case, case) for case in sorted(cases)]
    assert len(set(now)) == len(now)
    assert set(meant.values()) <= {"a", "c.nii.gz"}
    assert all(bare(case) == bare(other) for case, other in meant.items())


def test_labels_stored_with_the_run_are_used_and_a_scorer_replaces_them(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = [replace(p, labels=p.reference_labels) for p in written(0.1)]
    run = make_run(tmp_path, "a", made)
    cases = [p.case for p in made]
    assert source(run, plugins).scores(cases)["macro-f1"].values["macro-f1"] == 1
    scorer = run_scorer(run / "stages" / "test", plugins)
    anew = source(run, plugins, scorer).scores(cases)["macro-f1"]
    assert anew.values["macro-f1"] < 0.9
    assert anew.protocol.endswith(scorer.labeler.signature)


def test_run_without_stored_labels_is_labelled_by_its_own_labeler(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = [replace(p, labels=None, reference_labels=None) for p in written(0.7)]
    run = make_run(tmp_path, "a", made)
    write_json(run / "stages" / "test" / "scores.json", {})
    found = source(run, plugins).scores([p.case for p in made])
    assert "ct-rate-18|" in found["macro-f1"].protocol
    assert found["macro-f1"].values["macro-f1"] > 0.5


def test_metric_of_another_revision_is_told_and_unpinned_by_a_scorer(
    tmp_path: Path, plugins: Plugins
) -> None:
    made = written(0.7)
    run = make_run(tmp_path, "a", made, metrics=["{use: ctfw/bleu@99}", "accuracy"])
    read = source(run, plugins)
    assert set(read.scores([p.case for p in made])) >= {"macro-f1"}
    problem, advice = unusable([Method("a", (read,))])
    assert advice == ANEW
    assert "revision 99 is asked for" in problem
    assert set(run_scorer(run / "stages" / "test", plugins).metrics) == {"bleu", "accuracy"}
    with pytest.raises(UserError, match=r"(?s)no such score in a, b.*revision 99.*--alike"):
        compare_methods([Method("a", (read,)), Method("b", (read,))], ["bleu-4"])


def test_metric_that_cannot_score_leaves_the_others(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    block = "{use: accuracy, reference: dataset}"
    read = source(make_run(tmp_path, "a", made, metrics=["bleu", block]), plugins)
    found = read.scores([p.case for p in made])
    assert "bleu-4" in found
    assert "macro-f1" not in found
    assert unusable([Method("a", (read,))])[1:] == [ANEW]


def test_two_metrics_with_one_value_keep_a_name_each(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    metrics = ["bleu", "{use: bleu, protocol: vlm3d}", "accuracy"]
    runs = {
        n: make_run(tmp_path, n, written(q), metrics=metrics) for n, q in (("a", 0.7), ("b", 0.9))
    }
    found = source(runs["a"], plugins).scores([p.case for p in made])
    assert found["bleu-4@vlm3d"].values["bleu-4@vlm3d"] != found["bleu-4"].values["bleu-4"]
    names = ["bleu-4", "bleu-4@vlm3d"]
    comparison, _ = compare_methods(methods(plugins, **runs), names)
    assert [c.protocol.split("|")[0] for c in comparison.columns] == ["r2gen", "vlm3d"]
    first, second = (comparison.systems[0].means[name].value for name in names)
    assert first != second


def test_only_common_cases_are_compared_and_the_others_are_counted(
    tmp_path: Path, plugins: Plugins
) -> None:
    runs = {
        "a": make_run(tmp_path, "a", written(0.7, cases=20)),
        "b": make_run(tmp_path, "b", written(0.8, cases=20, first=4)),
    }
    comparison, notes = compare_methods(methods(plugins, **runs))
    assert (comparison.cases, comparison.patients) == (16, 8)
    assert "left out, because not all have these cases: 4 of a, 4 of b" in notes
    shared = written(0.7, cases=20)[4:]
    alone = source(make_run(tmp_path, "c", shared), plugins).scores([p.case for p in shared])
    assert comparison.systems[0].means["macro-f1"].value == alone["macro-f1"].values["macro-f1"]


def test_no_case_in_common_is_an_error(tmp_path: Path, plugins: Plugins) -> None:
    runs = {
        "a": make_run(tmp_path, "a", written(0.7, cases=4)),
        "b": make_run(tmp_path, "b", written(0.7, cases=4, first=10)),
    }
    with pytest.raises(
        UserError, match=r"no case is in all of them \(a has 'case-0', b has 'case-10'"
    ):
        common_cases(methods(plugins, **runs))


def test_other_references_for_the_same_case_are_an_error(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    other = [replace(made[0], reference="A text of another data set."), *made[1:]]
    runs = {"a": make_run(tmp_path, "a", made), "b": make_run(tmp_path, "b", other)}
    with pytest.raises(
        UserError, match=r"a and b have different references for 1 of 24 .*'case-0'"
    ):
        common_cases(methods(plugins, **runs))
    spaced = [replace(p, reference=f" {p.reference} ".replace(". ", ".  ")) for p in made]
    again = {"a": runs["a"], "c": make_run(tmp_path, "c", spaced)}
    assert len(common_cases(methods(plugins, **again))) == 24


def test_other_protocol_or_labeler_is_refused_in_words(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    runs = {
        "a": make_run(tmp_path, "a", made),
        "b": make_run(tmp_path, "b", made, labeler="other rules"),
        "c": make_run(tmp_path, "c", made, metrics=["accuracy", "{use: bleu, smoothing: coco}"]),
    }
    of = methods(plugins, **runs)
    with pytest.raises(
        UserError,
        match=r"(?s)macro-f1 was scored by different protocols.*b: .*other rules\n--alike",
    ):
        compare_methods(of[:2])
    with pytest.raises(UserError, match=r"bleu-4 was scored by different protocols"):
        compare_methods([of[0], of[2]])
    assert compare_methods([of[0], of[2]], ["macro-f1"])[0].cases == 24
    scorer = run_scorer(runs["a"] / "stages" / "test", plugins)
    alike = [Method(name, (source(run, plugins, scorer),)) for name, run in runs.items()]
    comparison, _ = compare_methods(alike)
    assert all(s.contrasts["bleu-4"].value == 0 for s in comparison.systems[1:])


def test_default_scores_are_those_that_all_have(tmp_path: Path, plugins: Plugins) -> None:
    own, other = written(0.9), written(0.2, swapped=True)
    runs = {"a": make_run(tmp_path, "a", own, other), "b": make_run(tmp_path, "b", own)}
    comparison, notes = compare_methods(methods(plugins, **runs))
    assert [c.name for c in comparison.columns] == ["macro-f1", "bleu-4"]
    assert notes == [f"{GAIN} is not compared: missing in b"]
    text = make_run(tmp_path, "t", own, metrics=["rouge-l"])
    with pytest.raises(UserError, match=r"name one with --primary, e\.g\. --primary rouge-l"):
        compare_methods(methods(plugins, a=text, b=text))


def test_unknown_primary_score_is_an_error_with_a_suggestion(
    tmp_path: Path, plugins: Plugins
) -> None:
    of = methods(plugins, a=make_run(tmp_path, "a", written(0.7)))
    with pytest.raises(UserError, match=r"--primary macro_f1: no such score in a, b .*'macro-f1'"):
        compare_methods([of[0], Method("b", of[0].sources)], ["macro_f1"])


def test_grouping_with_the_fewest_patients_is_used(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    run = make_run(tmp_path, "a", made)
    scorer = run_scorer(run / "stages" / "test", plugins)
    bare = read_file(make_file(tmp_path / "b.json", made, patients=False), {}, scorer)
    of = [Method("b", (bare,)), Method("a", (source(run, plugins),))]
    patients, notes = patients_of(of, [p.case for p in made])
    assert len(set(patients)) == 12
    assert notes == ["patients as in a: the others group the cases otherwise"]
    assert patients_of(of[1:], [p.case for p in made])[1] == []


def test_file_of_another_system_is_labelled_like_the_run(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    run = make_run(tmp_path, "a", made)
    scorer = run_scorer(run / "stages" / "test", plugins)
    table = [replace(p, labels=None) for p in made]
    file = read_file(make_file(tmp_path / "b.json", table), {}, scorer)
    cases = [p.case for p in made]
    ours = source(run, plugins, scorer).scores(cases)
    theirs = file.scores(cases)
    for name in ("bleu-4", "macro-f1"):
        assert theirs[name].values[name] == ours[name].values[name]
        assert theirs[name].protocol == ours[name].protocol


def test_seeds_of_a_method_are_compared_as_one(tmp_path: Path, plugins: Plugins) -> None:
    def method(name: str, quality: float) -> Method:
        runs = [make_run(tmp_path, name, written(quality, s, 60), seed=s) for s in (0, 1, 2)]
        return Method(name, tuple(source(run, plugins) for run in runs))

    comparison, _ = compare_methods([method("poor", 0.2), method("good", 0.95)])
    contrast = comparison.systems[1].contrasts["macro-f1"]
    assert contrast.low > 0.1
    assert contrast.p < 0.01
    assert comparison.best["macro-f1"] == "good"
    assert comparison.systems[0].means["macro-f1"].seeds == 3


def test_run_that_generated_nothing_is_worse_and_not_lost(tmp_path: Path, plugins: Plugins) -> None:
    made = written(0.7)
    empty = [replace(p, generated="", labels=np.zeros_like(p.labels)) for p in made]
    runs = {"a": make_run(tmp_path, "a", made), "b": make_run(tmp_path, "b", empty)}
    comparison, _ = compare_methods(methods(plugins, **runs))
    contrast = comparison.systems[1].contrasts["bleu-4"]
    assert comparison.systems[1].means["bleu-4"].value == 0
    assert contrast.high < 0
    assert not math.isnan(contrast.p)


def test_prediction_of_one_patient_only_is_compared_without_a_verdict(
    tmp_path: Path, plugins: Plugins
) -> None:
    def alone(rows: Sequence[Prediction]) -> list[Prediction]:
        return [replace(p, patient="p") for p in rows]

    runs = {n: make_run(tmp_path, n, alone(written(q))) for n, q in (("a", 0.2), ("b", 0.9))}
    comparison, _ = compare_methods(methods(plugins, **runs))
    contrast = comparison.systems[1].contrasts["macro-f1"]
    assert math.isnan(contrast.low)
    assert contrast.p == 1


def test_score_that_is_not_what_the_run_wrote_is_told(tmp_path: Path, plugins: Plugins) -> None:
    runs = {n: make_run(tmp_path, n, written(q)) for n, q in (("a", 0.2), ("b", 0.9))}
    for run in runs.values():
        with_per_case(run, "case", [], {"macro-f1": 0.25})
    of = methods(plugins, **runs)
    _, notes = compare_methods(of, ["macro-f1"])
    assert [note.split(" and is ")[0] for note in notes] == [
        "a: macro-f1 was 0.2500 in the run", "b: macro-f1 was 0.2500 in the run",
    ]  # fmt: skip
    wrote = of[0].sources[0].scores(list(of[0].sources[0].predictions))["macro-f1"].values
    with_per_case(runs["a"], "case", [], {"macro-f1": wrote["macro-f1"]})
    assert len(compare_methods(methods(plugins, **runs), ["macro-f1"])[1]) == 1
