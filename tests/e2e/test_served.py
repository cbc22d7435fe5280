"""A served model is scored with the floors and the grounded gain of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Instead

from ctfw.cli import main
from ctfw.engine.bench import image_bank
from ctfw.engine.context import Context
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "served.yaml"
SMALL = [
    "data.train=12", "data.validation=4", "data.test=10", "data.workers=1",
    "stages.test.resamples=200", "stages.test.browse=2", "generation.endpoint.retries=0",
    "generation.workers=3",
]  # fmt: skip


def reader(settings: list[str]) -> Callable[[dict[str, Any]], str]:
    """A model that knows every scan of the test split by its slices, and reports it rightly."""
    plugins = load_plugins()
    recipe = resolve(RECIPE, settings, None, plugins)
    context = Context(seed=recipe.seed)
    dataset = context.build(recipe.data)
    dataset.prepare()
    images = image_bank(plugins.catalog, recipe.data, context)
    backbone = context.build(recipe.backbone)
    known = {
        json.dumps(list(backbone.conversation(images.volume(case)))): case.report
        for case in dataset.cases("test")
    }
    return lambda body: known[json.dumps(body["messages"])]


def arguments(runs: Path, url: str, *more: str) -> list[str]:
    settings = [*SMALL, f"generation.endpoint.base_url={url}", *more]
    sets = [part for setting in settings for part in ("--set", setting)]
    return ["run", str(RECIPE), "--runs", str(runs), *sets]


@pytest.fixture
def url_and_server(here: None) -> Any:
    server = ChatServer(reader([*SMALL]))
    with server:
        yield server


def test_a_model_that_looks_gets_a_grounded_gain(
    url_and_server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = url_and_server
    assert main(arguments(tmp_path, server.url)) == 0
    said = capsys.readouterr()
    assert "no likelihood reliance, a server writes reports" in said.err
    (folder,) = tmp_path.glob("served/*")
    scores = json.loads((folder / "stages" / "test" / "scores.json").read_text())
    model = next(row for row in scores["table"]["rows"] if row["name"] == "model")
    assert model["values"]["macro-f1"]["value"] == pytest.approx(1.0)
    gain = scores["reliance"]["grounded_gain"]
    assert gain["value"] > 0.2
    assert gain["low"] > 0
    # A server gives no likelihoods: undefined, with the reason.
    assert scores["reliance"]["likelihood"]["another"]["value"] is None
    assert "does not tell how likely" in scores["reliance"]["likelihood_missing"]
    assert any("likelihood reliance is not known" in note for note in scores["table"]["notes"])
    assert {row["name"] for row in scores["table"]["rows"]} >= {
        "constant",
        "random",
        "all-negative",
    }
    assert scores["checkpoint"] is None
    assert scores["generation"]["engine"] == "openai"
    assert (folder / "report.html").stat().st_size > 10_000
    # Where the server stands is a fact of one machine.
    for file in ("scores.json", "predictions.jsonl"):
        assert server.url not in (folder / "stages" / "test" / file).read_text()


def test_run_that_a_failing_server_stopped_goes_on(
    url_and_server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = url_and_server
    answer, count = server.answer, 0

    def then_fails(body: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        if count > 7:
            server.script += [Instead(500)] * 3
        return answer(body)

    server.answer = then_fails
    more = "generation.temperature=0.5"  # other questions than those of the test before
    assert main(arguments(tmp_path, server.url, more)) == 2
    assert "the server fails (HTTP 500)" in capsys.readouterr().err
    server.answer, server.script[:] = answer, []
    asked = len(server.seen)
    (folder,) = tmp_path.glob("served/*")
    assert main(["resume", str(folder)]) == 0
    assert len(server.seen) - asked <= 20 - 7
    assert len((folder / "stages" / "test" / "predictions.jsonl").read_text().splitlines()) == 10


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        ("origin", ["generation.engine=openai"], "engine openai needs `endpoint: {base_url"),
        (
            "origin",
            ["generation.engine=openai", "generation.endpoint={base_url: http://h/v1, model: m}"],
            "with generation.engine openai a server writes the reports: remove one of them",
        ),
        (
            "served",
            ["generation.engine=transformers"],
            "start_from is required with generation.engine transformers",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(
    recipe: str,
    settings: list[str],
    words: str,
    here: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sets = [part for setting in settings for part in ("--set", setting)]
    assert main(["validate", recipe, *sets]) == 2
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_vllm_that_is_not_installed_is_told_before_anything_runs(
    here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", "stages.test.generation.engine=vllm"]
    assert main(["run", "origin", "--runs", str(tmp_path), *sets]) == 2
    assert "'report' needs 'vllm', which is not installed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
