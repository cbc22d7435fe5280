"""GREEN as a metric: what it asks, what it returns, what it keeps, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Instead, Served, asked

from ctfw.answers import AnswerCache, Reply
from ctfw.component import Block
from ctfw.endpoint import EndpointError
from ctfw.engine.context import Context
from ctfw.plugins import load_plugins
from ctfw.scoring.resample import bootstrap
from ctfw.testing import assert_component
from ctfw.types import Prediction
from ctfw_plugins.metrics.configs import GreenConfig
from ctfw_plugins.metrics.green import Green, GreenResult
from ctfw_plugins.metrics.green_prompt import make_prompt

Serve = Callable[..., ChatServer]
GOOD = """[Explanation]:
x

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. A
(b) Missing a finding present in the reference: 2. B; C

[Clinically Insignificant Errors]:
(d) Misassessment of the severity of a finding: 1. D

[Matched Findings]:
3. E; F; G"""
WORSE = GOOD.replace("3. E; F; G", "1. E")
UNREADABLE = GOOD.replace("3. E", "**3**. E")


class Scripted:
    """A judge that answers from a mapping of candidates to answers."""

    signature = "scripted"

    def __init__(self, answers: dict[str, str | Reply], default: str = GOOD) -> None:
        self._answers, self._default = answers, default
        self.asked: list[str] = []

    def answers(self, prompts: Sequence[str], cache: AnswerCache) -> list[Reply]:
        self.asked += prompts
        return [self._reply(prompt.split("Candidate Report:\n    ")[1]) for prompt in prompts]

    def _reply(self, candidate: str) -> Reply:
        found = next(
            (a for text, a in self._answers.items() if candidate.startswith(f"{text}\n")),
            self._default,
        )
        return found if isinstance(found, Reply) else Reply(found)


def settings(**others: Any) -> GreenConfig:
    served = {"use": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "judge"}
    return GreenConfig(**{"generator": served} | others)


def predictions(*pairs: tuple[str, str]) -> list[Prediction]:
    return [Prediction(f"c{i}", f"p{i}", gen, ref) for i, (ref, gen) in enumerate(pairs)]


def test_values_are_means_and_every_case_has_its_own() -> None:
    metric = Green(settings(), judge=Scripted({"bad": WORSE}))
    scores = metric.score(predictions(("ref", "good"), ("ref", "bad")))
    assert scores.per_case["green"] == pytest.approx([3 / 6, 1 / 4])
    assert scores.values == pytest.approx(
        {
            "green": (3 / 6 + 1 / 4) / 2,
            "green-matched": 2,
            "green-errors": 3,
            "green-false-finding": 1,
            "green-missed-finding": 2,
            "green-wrong-location": 0,
            "green-wrong-severity": 0,
            "green-false-comparison": 0,
            "green-missed-comparison": 0,
            "green-insignificant": 1,
        }
    )
    assert set(scores.per_case) == set(scores.values)
    assert scores.lower_is_better == set(scores.values) - {"green", "green-matched"}
    assert scores.notes == ()
    assert set(bootstrap(scores, ["p0", "p1"], 20)) == set(scores.values)


def test_the_protocol_says_who_judged_and_how() -> None:
    pair = predictions(("ref", "good"))
    scores = Green(settings(strict=True, cut="none"), judge=Scripted({})).score(pair)
    assert scores.protocol == "mean of cases|cut:none|strict|scripted"
    served = Green(settings())._judge.signature
    assert served == "served:judge|template:server's|max-tokens:1024"


def test_samples_of_one_reference_can_be_ranked() -> None:
    judge = Scripted({"bad": WORSE})
    results = Green(settings(), judge=judge).judge(["ref"] * 3, ["good", "bad", ""])
    assert [r.score for r in results] == pytest.approx([0.5, 0.25, 0])
    assert results[0] == GreenResult(
        0.5, 3, (1, 2, 0, 0, 0, 0), (0, 0, 0, 1, 0, 0), "", GOOD.partition("]:")[2]
    )
    assert len(judge.asked) == 2
    with pytest.raises(ValueError, match="zip"):
        Green(settings(), judge=judge).judge(["ref"], ["a", "b"])


def test_an_unreadable_answer_is_a_silent_zero_as_published_and_nan_when_strict() -> None:
    pairs = predictions(("ref", "good"), ("ref", "odd"))
    judge = Scripted({"odd": UNREADABLE})
    published = Green(settings(), judge=judge).score(pairs)
    assert published.per_case["green"] == pytest.approx([0.5, 0.0])
    reason = "1 of 2 pairs: the number of matched findings cannot be read"
    assert f"green: {reason} (read as published; strict: true gives NaN)" in published.notes
    strict = Green(settings(strict=True), judge=judge).score(pairs)
    assert strict.per_case["green"] == pytest.approx([0.5, np.nan], nan_ok=True)
    assert strict.per_case["green-errors"] == pytest.approx([3, np.nan], nan_ok=True)
    assert strict.values["green"] == 0.5
    assert f"green: {reason} (NaN)" in strict.notes


def test_an_answer_that_was_cut_is_told_even_when_it_can_be_read() -> None:
    judge = Scripted({"long": Reply(GOOD, "length")})
    (result,) = Green(settings(), judge=judge).judge(["ref"], ["long"])
    assert (result.score, result.reason) == (0.5, "the answer was cut at the limit of tokens")
    (result,) = Green(settings(strict=True), judge=judge).judge(["ref"], ["long"])
    assert np.isnan(result.score)


@pytest.mark.parametrize("strict", [False, True])
def test_empty_texts_are_not_judged(strict: bool) -> None:
    judge = Scripted({})
    pairs = predictions(("ref", " \n"), ("", "text"), ("", ""), ("ref", "good"))
    scores = Green(settings(strict=strict), judge=judge).score(pairs)
    assert scores.per_case["green"] == pytest.approx([0, np.nan, np.nan, 0.5], nan_ok=True)
    assert np.isnan(scores.per_case["green-errors"][:3]).all()
    assert scores.values["green"] == 0.25
    assert "green: 2 of 4 pairs: the reference is empty: NaN, not judged" in scores.notes
    assert "green: 1 of 4 pairs: the candidate is empty: 0, not judged" in scores.notes
    assert len(judge.asked) == 1


def test_no_predictions_give_nan_and_the_reason() -> None:
    scores = Green(settings(), judge=Scripted({})).score([])
    assert np.isnan(list(scores.values.values())).all()
    assert scores.notes == ("no predictions to score",)


def test_the_cut_is_counted_and_can_be_left_out() -> None:
    long = " ".join(["word"] * 301)
    pairs = predictions((long, "good"), (long, long), ("short", "good"))
    judge = Scripted({})
    scores = Green(settings(), judge=judge).score(pairs)
    (note,) = [text for text in scores.notes if "300 words" in text]
    assert note.startswith("green: 2 references and 1 candidates of 3 exceed 300 words")
    assert max(prompt.count("word") for prompt in judge.asked) == 600
    whole = Green(settings(cut="none"), judge=judge).score(pairs)
    assert not [text for text in whole.notes if "300 words" in text]
    assert max(prompt.count("word") for prompt in judge.asked) == 602


def served(server: ChatServer, tmp_path: Path, **others: Any) -> Green:
    generator = {"use": "openai", "base_url": server.url, "model": "judge"} | others
    return Green(GreenConfig(generator=generator, cache=tmp_path))


def test_a_served_judge_is_asked_greedily_in_the_chat_template_of_the_server(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(lambda body: GOOD)
    assert served(server, tmp_path).judge(["ref"], ["gen"])[0].score == 0.5
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "judge",
        "messages": [{"role": "user", "content": make_prompt("ref", "gen")}],
        "temperature": 0.0,
        "max_tokens": 1024,
    }


def test_a_served_judge_can_be_asked_in_the_published_template(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(lambda body: GOOD)
    metric = served(server, tmp_path, template="published")
    assert metric.judge(["ref"], ["gen"])[0].score == 0.5
    (seen,) = server.seen
    assert seen.path == "/v1/completions"
    prompt = make_prompt("ref", "gen")
    assert seen.body["prompt"] == (
        f"<|user|>\n{prompt}</s>\n<|assistant|>\n</s>\n<|assistant|>\n</s>"
    )
    assert "template:published(</s>)" in metric._judge.signature


def test_scoring_again_asks_nothing_and_identical_pairs_are_judged_once(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(lambda body: GOOD)
    pairs = predictions(("ref", "gen"), ("ref", "gen"), ("ref", "other"))
    first = served(server, tmp_path).score(pairs)
    assert len(server.seen) == 2
    again = served(server, tmp_path).score(pairs)
    assert len(server.seen) == 2
    assert again.values == first.values


def test_a_run_that_was_stopped_goes_on_with_the_pairs_that_are_left(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(lambda body: GOOD)
    metric = served(server, tmp_path, workers=1)
    metric.judge(["ref"] * 2, ["a", "b"])
    server.script = [Instead(400)]
    with pytest.raises(EndpointError, match="HTTP 400"):
        metric.judge(["ref"] * 3, ["a", "b", "c"])
    metric.judge(["ref"] * 3, ["a", "b", "c"])
    judged = [asked(seen.body).split("Candidate Report:\n    ")[1][0] for seen in server.seen]
    assert judged == ["a", "b", "c", "c"]


def test_an_answer_cut_by_the_server_is_told(chat_server: Serve, tmp_path: Path) -> None:
    server = chat_server(lambda body: Served(GOOD[:60], "length"))
    (result,) = served(server, tmp_path).judge(["ref"], ["gen"])
    assert (result.score, result.reason) == (0, "the answer was cut at the limit of tokens")


def test_green_keeps_the_contract_of_a_metric(chat_server: Serve, tmp_path: Path) -> None:
    server = chat_server(lambda body: GOOD)
    component = load_plugins(only="none").catalog.get("metric", "green")
    generator = {"use": "openai", "base_url": server.url, "model": "judge"}
    assert_component("metric", component, {"generator": generator, "cache": str(tmp_path)})
    block = Block(component, GreenConfig(generator=generator, cache=tmp_path))
    assert isinstance(Context().build(block), Green)
