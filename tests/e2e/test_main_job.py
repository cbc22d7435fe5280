"""The main job at its real size: the trained model uses the image. Minutes, so marked slow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("constant", "frequent", "random", "all-negative", "all-positive")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=["ours_heter"])
def scores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """scores.json of the recipe as it is shipped."""
    folder = tmp_path_factory.mktemp("main-job")
    command = [sys.executable, "-m", "ctfw", "run", str(ROOT / "recipes" / f"{request.param}.yaml")]
    done = subprocess.run(
        [*command, "--runs", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "report.html" in done.stdout
    return json.loads(next(folder.glob("*/*/stages/test/scores.json")).read_text())


def test_findings_depend_on_the_image(scores: Any) -> None:
    assert scores["reliance"]["grounded_gain"]["low"] > 0


def test_likelihood_depends_on_the_image(scores: Any) -> None:
    assert scores["reliance"]["likelihood"]["another"]["low"] > 0


@pytest.mark.parametrize("floor", FLOORS)
def test_macro_f1_is_above_every_floor(scores: Any, floor: str) -> None:
    rows = {row["name"]: row["values"]["macro-f1"] for row in scores["table"]["rows"]}
    assert rows["model"]["value"] > rows[floor]["value"]
    assert rows["model"]["low"] > rows[floor]["value"], "not by chance of the cases drawn"


def test_a_report_without_an_image_scores_well_in_bleu(scores: Any) -> None:
    """The text shortcut is there to be taken: most of the model's BLEU needs no image."""
    texts = ("model", "constant")
    rows = {r["name"]: r["values"]["bleu-4"] for r in scores["table"]["rows"] if r["name"] in texts}
    assert rows["constant"]["value"] > 0.6 * rows["model"]["value"]
