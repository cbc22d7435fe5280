"""`ctfw compare`: runs and files side by side, as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_runs import make_file, make_run, written

from ctfw.cli import main
from ctfw.cli.comparison import Cell, Sheet, escaped, in_latex, sheet
from ctfw.scoring.columns import Column
from ctfw.scoring.comparison import Compared, Comparison, Contrast
from ctfw.scoring.seeds import SeedMean

Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Says:
    """(exit code, stdout, stderr) of `ctfw compare`."""
    monkeypatch.setenv("CTFW_PLUGINS", "none")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["compare", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two methods of which the second tells the findings much better."""
    first = make_run(tmp_path, "poor", written(0.1, cases=80), written(0.1, 1, 80))
    second = make_run(
        tmp_path, "good", written(0.95, cases=80), written(0.1, 2, 80), loss="bounded-contrast"
    )
    return first, second


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_first_run_is_the_baseline(runs: tuple[Path, Path], says: Says) -> None:
    code, out, err = says(*runs)
    assert code == 0
    assert err == "SYNTHETIC data: the scores say nothing about patients\n"
    overview, comparison = out.split("\n\ncompared with poor\n")
    assert overview.splitlines()[0].split()[:2] == ["run", "tune.loss"]
    lines = comparison.splitlines()
    assert re.split(r"  +", lines[0]) == ["system", "macro F1", "grounded gain", "BLEU-4"]
    assert [line[:16].rstrip() for line in lines[1:5]] == [
        "poor (baseline)", "good", "  minus poor", "  p (Holm)",
    ]  # fmt: skip
    assert re.search(r"^good +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \* ", lines[2])
    assert re.search(r"minus poor +\+0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", lines[3])
    assert "- 80 cases of 40 patients; brackets: 95 % interval" in comparison
    assert "(one test per score, Holm)" in comparison


def test_other_baseline_turns_the_sign(runs: tuple[Path, Path], says: Says) -> None:
    there = rows_of(says(*runs, "--format", "csv")[1])
    back = rows_of(says(*runs, "--format", "csv", "--baseline", runs[1])[1])
    assert [row["system"] for row in there[::3]] == ["poor", "good"]
    assert [row["system"] for row in back[::3]] == ["good", "poor"]
    for one, other in zip(there[3:], back[3:], strict=True):
        assert float(one["difference"]) == pytest.approx(-float(other["difference"]))
        assert one["p"] == other["p"]


def test_baseline_may_be_a_further_run(runs: tuple[Path, Path], tmp_path: Path, says: Says) -> None:
    extra = make_run(tmp_path, "extra", written(0.5, cases=80), loss="clamp")
    out = says(*runs, "--baseline", extra)[1]
    assert "compared with extra" in out
    assert "  minus extra" in out


def test_run_that_is_named_twice_is_shown_once(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    out = says(*runs, "--baseline", tmp_path / "good")[1]
    assert "compared with good" in out
    assert out.count(runs[1].name) == 1


def test_csv_has_a_line_per_system_and_score(runs: tuple[Path, Path], says: Says) -> None:
    code, out, _ = says(*runs, "--format", "csv", "--primary", "macro-f1", "--primary", "bleu-4")
    assert code == 0
    rows = rows_of(out)
    assert [(row["system"], row["score"]) for row in rows] == [
        ("poor", "macro-f1"), ("poor", "bleu-4"), ("good", "macro-f1"), ("good", "bleu-4"),
    ]  # fmt: skip
    assert [row["best"] for row in rows] == ["0", "0", "1", "1"]
    better = rows[2]
    assert (better["cases"], better["patients"], better["seeds"]) == ("80", "40", "1")
    assert float(better["low"]) < float(better["value"]) < float(better["high"])
    assert 0 < float(better["p"]) <= float(better["p_holm"]) < 0.01
    assert rows[0]["difference"] == rows[0]["p"] == better["sd_seeds"] == ""
    assert all(row["protocol"] for row in rows)


def test_csv_gives_a_spreadsheet_no_formula(tmp_path: Path, says: Says) -> None:
    files = [make_file(tmp_path / f"{name}.json", written(0.9)) for name in ("=1+1", "@SUM(A1)")]
    code, out, err = says(*files, "--format", "csv")
    assert code == 0, err
    rows = rows_of(out)
    assert {row["system"] for row in rows} == {"'=1+1", "'@SUM(A1)"}
    assert {row["baseline"] for row in rows if row["baseline"]} == {"'=1+1"}


def test_markdown_marks_the_best_and_escapes_signatures(
    runs: tuple[Path, Path], says: Says
) -> None:
    _, out, _ = says(*runs, "--format", "markdown")
    comparison = out.split("compared with poor\n\n")[1]
    table, notes = comparison.rstrip().split("\n\n")
    lines = table.splitlines()
    assert lines[:2] == [
        "| system | macro F1 | grounded gain | BLEU-4 |", "| --- | ---: | ---: | ---: |",
    ]  # fmt: skip
    assert lines[3].startswith("| good | **0.")
    assert all(line.count("|") == 5 for line in lines)
    assert all(line.startswith("- ") for line in notes.splitlines())
    assert r"- BLEU-4: r2gen\|corpus\|" in notes
    assert "- bold: best value" in notes


def test_latex_table_is_whole_and_bold_where_the_best_is_clear(
    runs: tuple[Path, Path], says: Says
) -> None:
    _, out, _ = says(*runs, "--format", "latex")
    lines = out.splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert body[1].startswith(r"good & \textbf{0.")
    assert body[2].startswith(r"\quad minus poor & $+$0.")
    assert all(line.count("&") == 3 and line.endswith(r" \\") for line in body)
    for name in ("table", "tabular"):
        assert out.count(rf"\begin{{{name}}}") == out.count(rf"\end{{{name}}}") == 1
    for line in lines[1:]:
        assert not re.search(r"(?<!\\)[%#_]", line), line
    assert r"95 \% interval" in out
    assert r"r2gen\textbar{}\allowbreak{}corpus" in out
    assert r"\caption{Scores, and differences to poor.}" in lines


def test_latex_name_with_a_bracket_is_no_option_of_the_line_break() -> None:
    table = Sheet(["system", "m"], [("a", [Cell("0.1")]), ("[b] & c", [Cell("-0.2")])], [])
    assert r"{}[b] \& c & $-$0.2 \\" in in_latex(table).splitlines()


@given(st.text(max_size=40))
def test_escaped_text_has_no_active_character(text: str) -> None:
    plain = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#_%]", "", escaped(text))
    assert not set(plain) & set("\\{}$&#_%~^<>|–")


def test_out_is_written_in_the_format_of_its_ending(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    for ending, start in ((".tex", "% needs"), (".csv", "system,score"), (".md", "| run |")):
        file = tmp_path / f"table{ending}"
        code, out, err = says(*runs, "--out", file)
        assert (code, out) == (0, "")
        assert f"written: {file}" in err
        assert file.read_text().startswith(start)
    text = tmp_path / "table.md"
    says(*runs, "--out", text, "--format", "csv")
    assert text.read_text().startswith("system,score")


def test_seeds_are_one_method_and_both_variances_are_said(tmp_path: Path, says: Says) -> None:
    folders = [
        make_run(tmp_path, f"{name}-seed={seed}", written(quality, seed, 60), seed=seed, loss=loss)
        for name, quality, loss in (("poor", 0.2, "clamp"), ("good", 0.95, "cross-entropy"))
        for seed in (0, 1, 2)
    ]
    code, out, _ = says(*folders)
    assert code == 0
    _, means, _, comparison = out.split("\n\n")
    assert means.startswith("mean over seeds (standard deviation)\n")
    lines = comparison.splitlines()
    assert [line[:26].rstrip() for line in lines[2:5]] == [
        "poor (baseline)", "  sd of 3 seeds / of patie", "good",
    ]  # fmt: skip
    assert re.search(r"nts +0\.\d{3} / 0\.\d{3}", lines[3])
    assert "(Student's t)" in comparison
    assert "random exchanges" not in comparison
    rows = rows_of(says(*folders, "--format", "csv")[1])
    assert [(row["system"], row["seeds"]) for row in rows[::2]] == [("poor", "3"), ("good", "3")]
    assert all(float(row["sd_seeds"]) > 0 < float(row["sd_patients"]) for row in rows[::2])


def test_of_two_runs_of_one_recipe_and_seed_the_first_counts_and_the_other_is_named(
    tmp_path: Path, says: Says
) -> None:
    first = make_run(tmp_path, "a", written(0.2, 5))
    again = make_run(tmp_path, "a", written(0.9, 6))
    other = make_run(tmp_path, "b", written(0.5, 7), loss="clamp")
    options = ("--format", "csv", "--primary", "macro-f1")
    _, out, err = says(first, again, other, *options)
    words = f"a/{again.name} is left out of means and comparisons: it has the recipe and the seed"
    assert words in err
    assert out == says(first, other, *options)[1] != says(again, other, *options)[1]
    named = says(first, other, "--baseline", again, *options)[1]
    assert named == says(again, other, *options)[1]
    for form in ("text", "markdown", "latex"):
        assert " ".join(words.split()) in " ".join(
            says(first, again, other, "--format", form)[1].split()
        )


def test_two_runs_of_one_recipe_and_seed_are_not_called_seeds(tmp_path: Path, says: Says) -> None:
    pair = [make_run(tmp_path, "a", written(quality)) for quality in (0.2, 0.9)]
    code, _, err = says(*pair)
    assert code == 0
    assert "nothing to compare: these are runs of one recipe with one seed" in err
    (pair[1] / "stages" / "test" / "predictions.jsonl").unlink()
    err = says(*pair)[2]
    assert f"nothing to compare: only {pair[0]} has predictions" in err
    assert "seed" not in err


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, says: Says) -> None:
    one = make_run(tmp_path, "a", written(0.2))
    two = make_run(tmp_path, "a", written(0.9), loss="clamp")
    rows = rows_of(says(one, two, "--format", "csv", "--primary", "macro-f1")[1])
    assert [row["system"] for row in rows] == [f"a/{one.name}", f"a/{two.name}"]


def test_identical_runs_have_p_1(tmp_path: Path, says: Says) -> None:
    made = written(0.6)
    pair = [make_run(tmp_path, name, made, loss=loss) for name, loss in (("a", "x"), ("b", "y"))]
    rows = rows_of(says(*pair, "--format", "csv")[1])
    assert [(float(row["difference"]), row["p"]) for row in rows[2:]] == [(0, "1.0")] * 2
    assert " *" not in says(*pair)[1].split("compared with")[1].split("\n- ")[0]


def test_copies_in_folders_of_one_name_are_named_by_their_paths(tmp_path: Path, says: Says) -> None:
    one = make_run(tmp_path / "here", "a", written(0.2))
    two = make_run(tmp_path / "there", "a", written(0.9), loss="clamp")
    assert one.name == two.name
    code, out, _ = says(one, two, "--format", "csv", "--primary", "macro-f1")
    assert code == 0
    assert [row["system"] for row in rows_of(out)] == [str(one), str(two)]
    assert f"\n{two} " in says(one, two)[1]


def test_stages_of_one_run_are_two_methods(tmp_path: Path, says: Says) -> None:
    run = make_run(tmp_path, "a", written(0.2))
    with (run / "resolved.yaml").open("a") as file:
        file.write("  late:" + (run / "resolved.yaml").read_text().split("  test:")[1])
    shutil.copytree(run / "stages" / "test", run / "stages" / "late")
    stages = [run / "stages" / name for name in ("test", "late")]
    rows = rows_of(says(*stages, "--format", "csv", "--primary", "macro-f1")[1])
    assert [row["system"] for row in rows] == [f"a/{run.name}/test", f"a/{run.name}/late"]


def test_one_run_is_shown_without_a_comparison(runs: tuple[Path, Path], says: Says) -> None:
    code, out, _ = says(runs[0])
    assert code == 0
    assert "compared with" not in out
    code, _, err = says(runs[0], "--format", "latex")
    assert code == 2
    assert "a table in latex needs two systems that have predictions" in err


def test_seeds_of_one_method_have_nothing_to_be_compared_with(tmp_path: Path, says: Says) -> None:
    seeds = [make_run(tmp_path, "a", written(0.5, s), seed=s) for s in (0, 1)]
    code, out, err = says(*seeds)
    assert code == 0
    assert "these are the seeds of one method" in err
    assert "mean over seeds" in out


def test_run_without_predictions_is_left_out_in_words(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    late = make_run(tmp_path, "late", written(0.5), loss="late")
    (late / "stages" / "test" / "predictions.jsonl").unlink()
    code, out, err = says(*runs, late)
    assert code == 0
    assert f"{late} has no predictions yet and is not compared" in err
    assert f"late/{late.name}" in out.split("compared with")[0]
    assert "late" not in out.split("compared with")[1]
    code, _, err = says(*runs, "--baseline", late)
    assert code == 2
    assert f"--baseline {late} has no predictions yet" in err


def test_files_of_other_systems_are_compared_without_a_run(tmp_path: Path, says: Says) -> None:
    files = [
        make_file(tmp_path / f"{name}.json", written(quality, cases=60))
        for name, quality in (("theirs", 0.1), ("ours", 0.95))
    ]
    code, out, err = says(*files)
    assert (code, err) == (0, "")
    assert out.startswith("compared with theirs\n")
    assert "grounded-gain is not compared: missing in theirs, ours" in out
    assert re.search(r"^ours +0\.\d+ \[.*\] \*", out, re.M)
    assert "ct-rate-18|rules:" in out


def test_column_names_of_files_can_be_given(tmp_path: Path, says: Says) -> None:
    made = written(0.5, cases=6)
    for name in ("a", "b"):
        rows = "".join(f'{p.case},"{p.generated}","{p.reference}"\n' for p in made)
        (tmp_path / f"{name}.csv").write_text("case,output,reference\n" + rows)
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert says(*files)[0] == 2
    code, out, _ = says(*files, "--column", "generated=output", "--primary", "bleu-4")
    assert code == 0
    assert "6 cases of 6 patients" in out


def test_column_name_applies_to_the_files_that_have_it(tmp_path: Path, says: Says) -> None:
    made = written(0.5, cases=6)
    ours = make_file(tmp_path / "ours.json", made)
    theirs = tmp_path / "theirs.csv"
    rows = "".join(f'{p.case}.nii.gz,"{p.generated}","{p.reference}"\n' for p in made)
    theirs.write_text("case,output,reference\n" + rows)
    options = ("--column", "generated=output", "--primary", "bleu-4")
    code, out, err = says(ours, theirs, *options)
    assert (code, err) == (0, "")
    assert "- 6 cases of 3 patients" in out
    code, _, err = says(ours, theirs, "--column", "generated=outptu")
    assert code == 2
    assert f"--column generated=outptu: no column 'outptu' in {ours}, {theirs}" in err


def test_references_of_a_file_serve_all_predictions(tmp_path: Path, says: Says) -> None:
    made = written(0.5, cases=6)
    references = tmp_path / "references.csv"
    lines = "".join(f'{p.case}.nii.gz,"{p.reference}"\n' for p in made)
    references.write_text("VolumeName,Findings_EN\n" + lines)
    files = []
    for name, rows in (("a", made), ("b", made[1:])):
        files.append(tmp_path / f"{name}.csv")
        texts = "".join(f'{p.case},"{p.generated}"\n' for p in rows)
        files[-1].write_text("case,generated\n" + texts)
    code, out, _ = says(*files, "--references", references, "--primary", "bleu-4")
    assert code == 0
    assert "- 6 cases of 6 patients" in out
    assert "- b has no report for 1 of 6 cases: each counts as empty" in out
    run = make_run(tmp_path, "run", made)
    code, _, err = says(run, "--references", references)
    assert code == 2
    assert "--references is for files of predictions" in err


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_one_file_is_refused_in_every_format(form: str, tmp_path: Path, says: Says) -> None:
    file = make_file(tmp_path / "a.json", written(0.5, cases=6))
    for given_files in ([file], [file, file]):
        code, out, err = says(*given_files, "--format", form)
        assert (code, out) == (2, "")
        assert f"nothing to compare {file} with: name a second run or another file" in err
        assert f"a table in {form} needs two systems" in err


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_synthetic_data_is_said_in_each_table(
    form: str, runs: tuple[Path, Path], says: Says
) -> None:
    out = says(*runs, "--format", form)[1]
    words = "SYNTHETIC data: the scores say nothing about patients"
    assert out.count(words) == (1 if form == "latex" else 2)
    for run in runs:
        file = run / "resolved.yaml"
        file.write_text(file.read_text().replace("synthetic: true", "synthetic: false"))
    assert "SYNTHETIC" not in says(*runs, "--format", form)[1]


def test_csv_says_whether_data_is_synthetic(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    assert {row["synthetic"] for row in rows_of(says(*runs, "--format", "csv")[1])} == {"1"}
    for run in runs:
        file = run / "resolved.yaml"
        file.write_text(file.read_text().replace("synthetic: true", "synthetic: false"))
    assert {row["synthetic"] for row in rows_of(says(*runs, "--format", "csv")[1])} == {"0"}
    files = [make_file(tmp_path / f"{n}.json", written(0.5, cases=6)) for n in "ab"]
    assert {row["synthetic"] for row in rows_of(says(*files, "--format", "csv")[1])} == {""}


def test_ending_is_read_in_any_case_and_an_unknown_one_refused(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    for ending, start in ((".CSV", "system,score"), (".txt", "run "), (".Md", "| run |")):
        file = tmp_path / f"table{ending}"
        assert says(*runs, "--out", file)[0] == 0
        assert file.read_text().startswith(start)
    for name in ("table.xlsx", "table"):
        code, _, err = says(*runs, "--out", tmp_path / name)
        assert code == 2
        assert "use .txt (text), .md (markdown), .tex (latex), .csv (csv)" in err
        assert not (tmp_path / name).exists()
    assert says(*runs, "--out", tmp_path / "table", "--format", "csv")[0] == 0


def test_rows_of_a_system_stay_below_it_in_markdown(runs: tuple[Path, Path], says: Says) -> None:
    out = says(*runs, "--format", "markdown")[1]
    assert "| &nbsp;&nbsp;minus poor | +0." in out
    assert "| &nbsp;&nbsp;p (Holm) | " in out


def test_mark_of_the_best_is_explained_only_where_it_is_used(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    assert "- *: best value" in says(*runs)[1]
    twin = make_run(tmp_path, "twin", written(0.1, cases=80), written(0.1, 1, 80), loss="clamp")
    assert "best value" not in says(runs[0], twin)[1]


def test_small_differences_have_the_digits_of_their_interval() -> None:
    def system(name: str, value: float) -> Compared:
        mean = SeedMean(value, value - 0.002, value + 0.002, 1, math.nan, math.nan, 0)
        contrast = Contrast(-0.00412, -0.00431, -0.00388, 0.01, 0.01, 0, 0)
        return Compared(name, {"x": mean}, {"x": contrast} if name == "b" else {})

    column = Column("x", "x", "p|v1")
    systems = (system("a", 0.5), system("b", 0.49588))
    rows = dict(sheet(Comparison((column,), systems, {}, 3000, 3000, 2000, 10000)).rows)
    assert rows["a (baseline)"][0].text == "0.5000 [0.4980, 0.5020]"
    assert rows["  minus a"][0].text == "-0.00412 [-0.00431, -0.00388]"


def test_scores_made_anew_are_told_from_those_of_the_runs(
    runs: tuple[Path, Path], says: Says
) -> None:
    words = "these are the scores that the runs wrote; those below are made anew (--alike)"
    assert words in says(*runs, "--alike")[1]
    assert words not in says(*runs)[1]


def test_file_without_references_is_an_error(tmp_path: Path, says: Says) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"case": "1", "generated": "Clear."}\n')
    code, _, err = says(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert code == 2
    assert "a.jsonl: no column 'reference'" in err


def test_file_beside_a_run_is_scored_as_the_run(
    runs: tuple[Path, Path], tmp_path: Path, says: Says
) -> None:
    file = make_file(tmp_path / "theirs.json", written(0.95, cases=80))
    code, _, err = says(runs[0], file)
    assert code == 2  # the run's labels are of other rules than the file's
    assert "macro-f1 was scored by different protocols" in err
    code, out, _ = says(runs[0], file, "--alike")
    assert code == 0
    assert "compared with poor" in out
    assert re.search(r"^theirs +0\.\d+", out, re.M)


def test_different_references_are_refused(tmp_path: Path, says: Says) -> None:
    made = written(0.5)
    one = make_run(tmp_path, "a", made)
    other = [replace(p, reference="Something else.") for p in made]
    two = make_run(tmp_path, "b", other, loss="clamp")
    code, _, err = says(one, two)
    assert code == 2
    assert "a and b have different references for 24 of 24 cases" in err


def test_few_patients_are_told_that_nothing_can_be_shown(tmp_path: Path, says: Says) -> None:
    pair = [
        make_run(tmp_path, name, written(quality, cases=8), loss=name)
        for name, quality in (("a", 0.0), ("b", 1.0))
    ]
    out = says(*pair)[1]
    assert "8 cases of 4 patients" in out
    assert "too few patients to show a difference: no p below 0.12 is possible" in out


def test_comparing_needs_no_model(runs: tuple[Path, Path]) -> None:
    code = (
        "import sys; from ctfw.cli import main; "
        f"assert main(['compare', {str(runs[0])!r}, {str(runs[1])!r}]) == 0; "
        "heavy = {'torch', 'transformers', 'nibabel', 'evaluate'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
