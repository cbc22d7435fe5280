"""The first tables of a comparison: each setting once, a column per protocol, lines that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.cli.layout import WIDTH, blocks, digits_of, listed
from ctfw.cli.options import columns as aligned
from ctfw.cli.overview import overview, shown_settings, titles
from ctfw.runs.compare import Outcome

WORDS = st.text("abc|", min_size=1, max_size=60)


def run(
    settings: dict[str, Any], protocol: str = "r2gen|corpus", value: float = 0.5, folder: str = "1"
) -> Outcome:
    scores = {"bleu-4": (value, value - 0.1, value + 0.1)}
    return Outcome(
        Path(f"runs/a/{folder}"), "a", "finished", settings, scores, False, {"bleu-4": protocol}
    )


def table(outcomes: list[Outcome]) -> list[list[str]]:
    text = overview(outcomes, [], markdown=True)[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines()]


def test_scores_of_two_protocols_stand_in_two_columns_with_their_signatures() -> None:
    outcomes = [run({"x": 0}), run({"x": 1}, "vlm3d|corpus"), run({"x": 2})]
    parts = overview(outcomes, [], markdown=False)
    header, first, second, _ = parts[0].splitlines()
    assert header.split() == ["run", "x", "bleu-4@r2gen", "bleu-4@vlm3d"]
    assert first.endswith("0.500 [0.40, 0.60]  –")
    assert second.endswith("–                   0.500 [0.40, 0.60]")
    assert parts[-1].splitlines() == [
        "- bleu-4@r2gen: r2gen|corpus", "- bleu-4@vlm3d: vlm3d|corpus",
    ]  # fmt: skip


def test_protocols_that_begin_alike_are_numbered() -> None:
    outcomes = [run({"x": n}, f"pooled|{n} labels") for n in (18, 3, 14)]
    assert table(outcomes)[0][2:] == ["bleu-4@1", "bleu-4@2", "bleu-4@3"]
    notes = overview(outcomes, [], markdown=False)[-1].splitlines()
    assert notes == [f"- bleu-4@{i}: pooled|{n} labels" for i, n in ((1, 18), (2, 3), (3, 14))]


def test_seeds_under_two_protocols_have_no_mean() -> None:
    outcomes = [run({"seed": 0}), run({"seed": 1}, "vlm3d|corpus")]
    means = overview(outcomes, [], markdown=False)[1].splitlines()[-1]
    assert means.split() == ["a", "2", "–", "–"]


def test_inherited_setting_is_shown_once_and_an_own_one_as_well() -> None:
    labels: list[tuple[str, ...]] = [("Emphysema", "Lung nodule"), ("Cardiomegaly",)]
    outcomes = [
        run({"metrics.2.labels": those, "stages.test.metrics.2.labels": those}) for those in labels
    ]
    assert shown_settings(outcomes) == ["metrics.2.labels"]
    own = [
        run({"training.max_steps": n, "stages.tune.training.max_steps": m})
        for n, m in ((1, 5), (2, 6))
    ]
    assert shown_settings(own) == ["training.max_steps", "stages.tune.training.max_steps"]


def test_settings_that_differ_beyond_their_shown_part_are_told_apart() -> None:
    values = ["word " * 20 + end for end in ("a", "b", "a")]
    texts = [row[1] for row in table([run({"prompt": value}) for value in values])[2:]]
    assert texts[0] == texts[2] != texts[1]
    assert all(len(text) <= 32 for text in texts)


def test_runs_of_one_name_and_folder_are_named_by_their_paths() -> None:
    pair = [run({"x": 0}), run({"x": 1})]
    moved = Outcome(Path("other/a/1"), "a", "finished", {}, {}, False)
    assert list(titles([pair[0], moved]).values()) == ["runs/a/1", "other/a/1"]
    assert list(titles([pair[0], run({}, folder="2")]).values()) == ["a/1", "a/2"]


def test_many_settings_and_scores_keep_lines_within_the_width() -> None:
    outcomes = [run({f"stages.tune.setting_{i}": i + j for i in range(20)}) for j in range(2)]
    for part in overview(outcomes, ["word " * 60], markdown=False):
        assert max(map(len, part.splitlines())) <= WIDTH


@given(st.lists(st.tuples(*[WORDS] * 6), min_size=1, max_size=4))
def test_blocks_lose_no_cell_and_fit_where_a_pair_of_columns_does(
    rows: list[tuple[str, ...]],
) -> None:
    parts = blocks(rows)
    assert [
        tuple([row[0], *(cell for part in parts for cell in part[i][1:])])
        for i, row in enumerate(rows)
    ] == rows
    for part in parts:
        assert max(map(len, aligned(part).splitlines())) <= WIDTH or len(part[0]) == 2


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [(0.3, 0.4, 3), (-0.0042, -0.0038, 5), (0.100, 0.106, 4), (0.5, 0.5, 3), (0, 1e-9, 5)],
)
def test_digits_show_two_figures_of_half_the_interval(low: float, high: float, digits: int) -> None:
    assert digits_of(low, high) == digits


def test_notes_of_a_markdown_list_end_no_cell() -> None:
    assert listed(["a|b"], markdown=True) == r"- a\|b"
