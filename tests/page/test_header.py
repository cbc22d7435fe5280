"""The header of a run's page: what was run, on what, and in how many processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctfw.page.overview import facts
from ctfw.page.reading import read_run
from ctfw.runs.files import write_json, write_text


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({}, {}),
        ({"profile": None, "processes": 1}, {}),
        ({"profile": "ct-rate", "processes": 1}, {"Profile": "ct-rate"}),
        ({"profile": "/data/of/a/person/small.yaml"}, {"Profile": "small"}),
        (
            {"processes": 4},
            {"Processes": "4: a step reads 4 × batch_size × gradient_accumulation cases"},
        ),
    ],
)
def test_profile_and_processes_stand_in_the_header(
    status: dict[str, object], told: dict[str, str], tmp_path: Path
) -> None:
    write_text(tmp_path / "resolved.yaml", "ctfw: 1\nname: a\nstages: {}\n")
    write_json(tmp_path / "status.json", status)
    found = dict(facts(read_run(tmp_path)))
    assert {term: found[term] for term in ("Profile", "Processes") if term in found} == told
