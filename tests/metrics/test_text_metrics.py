"""What holds for all text metrics as components, whatever the protocol."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import MissingPackage
from ctfw.plugins import load_plugins
from ctfw.scoring.corpus import encode
from ctfw.scoring.protocols import PROTOCOLS
from ctfw.testing import assert_component
from ctfw.types import Prediction, Scores
from ctfw_plugins.metrics.configs import MeteorConfig, ProtocolName, RougeLConfig
from ctfw_plugins.metrics.meteor import Meteor

CATALOG = load_plugins(only="none").catalog
NAMES = ("bleu", "rouge-l", "rouge-n", "cider", "meteor")
WORDS = st.sampled_from(
    ["no", "right", "lung", "nodule", "nodules", "was", "not", "observed", ",", ".", "5 mm"]
)
TEXT = st.lists(WORDS, max_size=14).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)
REPORT = "No nodule, mass or infiltration was detected in both lungs. Heart size is normal."


def built(name: str, **settings: Any) -> Any:
    component = CATALOG.get("metric", name)
    return component.load()(component.config(**settings), None)


def predictions(pairs: list[tuple[str, str]], finish: str = "stop") -> list[Prediction]:
    return [
        Prediction(f"c{i}", f"p{i}", gen, ref, finish=finish) for i, (gen, ref) in enumerate(pairs)
    ]


def all_metrics(**settings: Any) -> list[Any]:
    return [built(name, **settings) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_component_passes_the_conformance_kit(name: str) -> None:
    assert_component("metric", CATALOG.get("metric", name))


def test_settings_know_every_protocol() -> None:
    assert set(get_args(ProtocolName)) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identical_text_scores_one_and_empty_text_zero(protocol: str) -> None:
    empty = [("", REPORT), (" \n", REPORT), ("...", REPORT)]
    for name in ("bleu", "rouge-l", "rouge-n"):
        metric = built(name, protocol=protocol)
        same = metric.score(predictions([(REPORT, REPORT)]))
        assert list(same.values.values()) == pytest.approx([1.0] * len(same.values), abs=1e-8)
        none = metric.score(predictions(empty[:2]))
        assert set(none.values.values()) == {0.0}
        mixed = metric.score(predictions([(REPORT, REPORT), *empty]))
        assert all(0 < value < 1 for value in mixed.values.values())


def test_identical_text_has_the_best_meteor_and_cider_that_there_is() -> None:
    texts = [REPORT, "A large effusion on the left side is seen with shift of the heart."]
    same = predictions([(text, text) for text in texts])
    length = len(REPORT.split())
    meteor = built("meteor", protocol="whitespace").score(same)
    assert meteor.per_case["meteor"][0] == pytest.approx(1 - 0.5 / length**3, abs=1e-12)
    assert built("cider", protocol="whitespace").score(same).values["cider"] == pytest.approx(10)


@settings(max_examples=25, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_doubling_only_to_cider(
    pairs: list[tuple[str, str]], rnd: Any
) -> None:
    shuffled = list(pairs)
    rnd.shuffle(shuffled)
    for metric in all_metrics(protocol="whitespace"):
        once = metric.score(predictions(pairs)).values
        again = metric.score(predictions(shuffled)).values
        assert again == pytest.approx(once, abs=1e-12, nan_ok=True)
        if "cider" not in once:
            twice = metric.score(predictions(pairs * 2)).values
            assert twice == pytest.approx(once, abs=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=4))
def test_any_unicode_gives_numbers_in_their_range(pairs: list[tuple[str, str]]) -> None:
    made = predictions(pairs)
    for protocol in PROTOCOLS:
        for metric in all_metrics(protocol=protocol):
            scores: Scores = metric.score(made)
            for name, values in scores.per_case.items():
                top = 10 + 1e-9 if name == "cider" else 1 + 1e-9
                assert len(values) == len(pairs)
                assert np.all(np.isnan(values) | ((values >= 0) & (values <= top)))
            for value in scores.values.values():
                assert np.isnan(value) or value >= 0


def test_empty_and_missing_texts_are_counted() -> None:
    made = predictions([(REPORT, REPORT)]) + predictions([("", REPORT)], "missing")
    made += predictions([("..", REPORT), (REPORT, "")])
    for metric in all_metrics():
        notes = metric.score(made).notes
        assert notes[0].startswith("2 of 4 generated texts are empty (1 of them missing)")
        assert notes[1].startswith("1 of 4 references are empty")


def test_no_predictions_and_no_references_are_undefined_with_the_reason() -> None:
    for metric in all_metrics():
        for made, reason in (
            ([], "no predictions"),
            (predictions([("a nodule", ""), ("an effusion", " . ")]), "all 2 references are empty"),
        ):
            scores = metric.score(made)
            assert all(np.isnan(value) for value in scores.values.values())
            assert reason in scores.notes[0]


def test_one_case_has_a_cider_of_zero_and_says_why() -> None:
    scores = built("cider").score(predictions([(REPORT, REPORT)]))
    assert scores.values == {"cider": 0.0}
    assert any("one case" in note for note in scores.notes)


def test_statistics_reduce_to_the_values() -> None:
    pairs = [("a b c d e", "a b c d f"), ("a b", "a b c"), ("", "x"), ("q r s t", "q r s t")]
    scores = built("bleu", protocol="whitespace").score(predictions(pairs))
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    both = scores.reduce(weights @ scores.statistics)
    repeated = [pairs[0], pairs[0], pairs[2], pairs[3]]
    again = built("bleu", protocol="whitespace").score(predictions(repeated))
    for name, value in scores.values.items():
        assert both[name][0] == value
        assert both[name][1] == pytest.approx(again.values[name], abs=1e-15)


def test_reports_of_100_000_words_are_scored() -> None:
    long = " ".join(f"w{i % 997}" for i in range(100_000))
    other = " ".join(f"w{i % 991}" for i in range(100_000))
    for protocol in ("r2gen", "coco_ptb"):
        for metric in all_metrics(protocol=protocol):
            values = metric.score(predictions([(long, REPORT), (REPORT, long), (long, other)]))
            assert all(np.isfinite(value) for value in values.values.values())


def test_a_choice_outside_the_protocol_shows_in_the_signature() -> None:
    made = predictions([(REPORT, REPORT)])
    assert "|smooth:exp|" in built("bleu", smoothing="exp").score(made).protocol
    assert "|beta:3|" in built("rouge-l", beta=3).score(made).protocol
    stemmed = built("rouge-l", protocol="rouge_score", stem=True)
    assert "|stem:yes|" in stemmed.score(made).protocol


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"stem": True}, "rouge_score"),
        ({"by_sentence": True}, "rouge_score"),
        ({"by_sentence": True, "protocol": "rouge_score", "beta": 2}, "beta 1"),
    ],
)
def test_what_a_protocol_lacks_is_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        RougeLConfig(**wrong)


def test_required_synonyms_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctfw_plugins.metrics.meteor.wordnet", lambda: None)
    with pytest.raises(MissingPackage, match=r"nltk\.downloader wordnet"):
        Meteor(MeteorConfig(synonyms="required"))
    assert "|exact+stem|" in Meteor(MeteorConfig()).score(predictions([("a", "a")])).protocol


def test_synonyms_are_used_and_said_where_they_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = {"big", "huge"}
    monkeypatch.setattr(
        "ctfw_plugins.metrics.meteor.wordnet", lambda: lambda word: same if word in same else set()
    )
    made = predictions([("heart big", "heart huge")])
    scores = Meteor(MeteorConfig(protocol="whitespace")).score(made)
    assert "|exact+stem+wordnet|" in scores.protocol
    assert scores.values["meteor"] == 1 - 0.5 * (1 / 2) ** 3  # two words in one chunk
    without = Meteor(MeteorConfig(protocol="whitespace", synonyms="never")).score(made)
    assert without.values["meteor"] == 0.25  # one of two words, one chunk


def test_importing_needs_numpy_and_rapidfuzz_alone() -> None:
    modules = "cider corpus hf meteor ngrams porter protocols ptb ptb_java rouge smoothing tokens"
    core = [f"ctfw.scoring.{name}" for name in modules.split()]
    plugins = [f"ctfw_plugins.metrics.{name}" for name in ("bleu", "rouge_l", "rouge_n", "cider")]
    plugins += ["ctfw_plugins.metrics.meteor", "ctfw_plugins.metrics.hf_evaluate"]
    frame = {"pluggy", "pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
    frame |= {"typing_inspection", "packaging", "yaml"}
    for wanted, allowed in ((core, set()), (plugins, frame)):
        code = (
            "import importlib, sys\nbefore = set(sys.modules)\n"
            f"for name in {wanted!r}: importlib.import_module(name)\n"
            "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
            "print(*new - set(sys.stdlib_module_names))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        third = {name for name in done.stdout.split() if not name.startswith("_")}
        assert third <= {"ctfw", "ctfw_plugins", "numpy", "rapidfuzz", "cython_runtime"} | allowed


def test_several_references_are_scored_by_the_functions() -> None:
    pairs = encode(["a b c"], [["x y", "a b c", "a b"]])
    assert len(pairs) == 1
    assert pairs.lengths.tolist() == [3, 2, 3, 2]
    with pytest.raises(ValueError, match="reference"):
        encode(["a", "b"], ["a", []])
