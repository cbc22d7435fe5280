"""RadGraph F1 and RaTEScore as adapters: stand-ins in the place of packages and weights."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tiny_encoder import save_bert

from ctfw.component import Component
from ctfw.errors import BadCheckpoint, MissingPackage, UserError
from ctfw.plugins import load_plugins
from ctfw.testing import assert_component
from ctfw.types import Prediction
from ctfw_plugins.metrics.configs import RadGraphConfig, RateScoreConfig
from ctfw_plugins.metrics.radgraph import RadGraphF1
from ctfw_plugins.metrics.ratescore import RateScore

Install = Callable[[str, type], ModuleType]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """A module in the place of a package that is not installed."""

    def put(name: str, scorer: type) -> ModuleType:
        module = ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        setattr(module, scorer.__name__, scorer)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """A folder in the shape of an unpacked radgraph-xl."""
    folder = tmp_path / "graphs"
    (folder / "radgraph-xl").mkdir(parents=True)
    for name in ("config.json", "weights.th"):
        (folder / "radgraph-xl" / name).touch()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders with weights that the stand-in of RaTEScore does not read."""
    folder = tmp_path_factory.mktemp("models")
    return save_bert(folder / "entities"), save_bert(folder / "embeddings", seed=1)


class F1RadGraph:
    """The calls and the results of radgraph 0.1.18: words are entities, all without relations."""

    made: dict[str, Any]

    def __init__(self, reward_level: str, **settings: Any) -> None:
        print("Using device: cpu")
        type(self).made = {"reward_level": reward_level, **settings}
        type(self).switches = {k: os.environ.get(k) for k in SWITCHES}

    def __call__(self, refs: list[str], hyps: list[str]) -> tuple[Any, ...]:
        rewards = []
        for reference, generated in zip(refs, hyps, strict=True):
            if "unreadable" in generated:
                raise KeyError("0")
            x, y = set(generated.lower().split()), set(reference.lower().split())
            f1 = 2 * len(x & y) / (len(x) + len(y))
            rewards.append((f1, f1 / 2, f1 / 4))
        lists = tuple([reward[i] for reward in rewards] for i in range(3))
        return tuple(np.mean(lists, axis=1)), lists, [{}], [{}]


SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TORCH_FORCE_WEIGHTS_ONLY_LOAD")


class RaTEScore:
    """The calls and the results of RaTEScore 0.6.0, and what it does to texts without sentences."""

    made: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        if "broken" in settings["bert_model"]:
            raise OSError("no such model")
        type(self).made = settings
        type(self).switches = {k: os.environ.get(k) for k in SWITCHES}

    def compute_score(self, candidate_list: list[str], reference_list: list[str]) -> list[float]:
        # texts without a sentence of three letters leave no row, and zip ends with the shorter
        rows = [[t for t in texts if len(t) >= 3] for texts in (candidate_list, reference_list)]
        return [0.5 if "nothing" in x else 0.25 for x, _ in zip(*rows, strict=False)]


def predictions(*pairs: tuple[str, str]) -> list[Prediction]:
    return [Prediction(f"c{i}", f"p{i}", gen, ref) for i, (ref, gen) in enumerate(pairs)]


def radgraph(folder: Path, **settings: Any) -> RadGraphF1:
    return RadGraphF1(RadGraphConfig(weights=folder, device="cpu", **settings))


def ratescore(models: tuple[Path, Path], **settings: Any) -> RateScore:
    entities, embeddings = models
    return RateScore(
        RateScoreConfig(entities=entities, embeddings=embeddings, device="cpu", **settings)
    )


def test_radgraph_gives_the_three_rewards_per_case_and_their_means(
    install: Install, graphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("radgraph", F1RadGraph)
    pairs = predictions(("no effusion", "no effusion"), ("left effusion", "right effusion"))
    scores = radgraph(graphs, tokenizers=graphs / "hub").score(pairs)
    assert scores.per_case["radgraph-simple"] == pytest.approx([1, 0.5])
    assert scores.per_case["radgraph-partial"] == pytest.approx([0.5, 0.25])
    assert scores.per_case["radgraph-complete"] == pytest.approx([0.25, 0.125])
    assert scores.values["radgraph-simple"] == pytest.approx(0.75)
    assert scores.protocol == "mean of cases|radgraph-xl|package:unknown"
    assert scores.notes == ()
    assert F1RadGraph.made == {
        "reward_level": "all",
        "model_type": "radgraph-xl",
        "model_cache_dir": str(graphs),
        "tokenizer_cache_dir": str(graphs / "hub"),
        "cuda": -1,
    }
    assert capsys.readouterr().out == ""


def test_the_model_for_chest_x_ray_says_so(install: Install, graphs: Path) -> None:
    install("radgraph", F1RadGraph)
    (graphs / "radgraph-xl").rename(graphs / "radgraph")
    scores = radgraph(graphs, model="radgraph").score(predictions(("a", "a")))
    assert scores.notes[0].startswith("radgraph: trained on chest X-ray; it may not know")


def test_radgraph_is_loaded_without_network_and_without_pickles(
    install: Install, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    install("radgraph", F1RadGraph)
    radgraph(graphs).score(predictions(("a", "b")))
    assert F1RadGraph.switches == dict.fromkeys(SWITCHES, "1")
    assert not set(SWITCHES) & set(os.environ)


def test_radgraph_states_what_it_gives_where_it_cannot_compare(
    install: Install, graphs: Path
) -> None:
    install("radgraph", F1RadGraph)
    pairs = predictions(("a", " "), ("", "a"), ("a", "unreadable"), ("a", "a"))
    scores = radgraph(graphs).score(pairs)
    assert scores.per_case["radgraph-simple"] == pytest.approx([0, np.nan, np.nan, 1], nan_ok=True)
    assert scores.values["radgraph-simple"] == pytest.approx(0.5)
    assert set(scores.notes) == {
        "radgraph: 1 references are empty: NaN, left out of the means",
        "radgraph: 1 generated texts are empty: 0",
        "radgraph: 1 pairs on which the package fails: NaN",
    }


def test_radgraph_downloads_nothing_where_weights_are_missing(
    install: Install, tmp_path: Path
) -> None:
    class F1RadGraph:
        def __init__(self, **settings: Any) -> None:
            raise AssertionError("it would download")

    install("radgraph", F1RadGraph)
    with pytest.raises(UserError, match=r"radgraph-xl lacks config.json or weights.th. Nothing is"):
        radgraph(tmp_path).score(predictions(("a", "b")))


def test_radgraph_says_what_else_it_needs_when_it_cannot_be_built(
    install: Install, graphs: Path
) -> None:
    class F1RadGraph:
        def __init__(self, **settings: Any) -> None:
            raise OSError("offline: cannot find bert")

    install("radgraph", F1RadGraph)
    with pytest.raises(BadCheckpoint, match=r"cannot find bert. It also needs the tokenizer"):
        radgraph(graphs).score(predictions(("a", "b")))


def test_another_form_of_rewards_is_refused(install: Install, graphs: Path) -> None:
    class F1RadGraph:
        def __init__(self, **settings: Any) -> None: ...

        def __call__(self, refs: list[str], hyps: list[str]) -> tuple[Any, ...]:
            return 0.5, [0.5], [], []

    install("radgraph", F1RadGraph)
    with pytest.raises(UserError, match="install another version"):
        radgraph(graphs).score(predictions(("a", "b")))


def test_ratescore_gives_a_value_per_case_and_its_mean(
    install: Install, models: tuple[Path, Path]
) -> None:
    install("RaTEScore", RaTEScore)
    scores = ratescore(models, matrix="short").score(
        predictions(("effusion", "effusion"), ("effusion", "nothing to report"))
    )
    assert scores.per_case["ratescore"] == pytest.approx([0.25, 0.5])
    assert scores.values == {"ratescore": pytest.approx(0.375)}
    assert "|matrix:short|package:unknown" in scores.protocol
    assert "ratescore: 1 cases are exactly 0.5, its value where a text has no entity" in (
        scores.notes
    )
    assert RaTEScore.made == {
        "bert_model": str(models[0]),
        "eval_model": str(models[1]),
        "use_gpu": False,
        "affinity_matrix": "short",
    }
    assert RaTEScore.switches["HF_HUB_OFFLINE"] == "1"


def test_a_text_without_sentences_does_not_move_the_scores_of_others(
    install: Install, models: tuple[Path, Path]
) -> None:
    install("RaTEScore", RaTEScore)
    pairs = predictions(("effusion", "."), ("effusion", "nothing"), ("", "x"), ("effusion", ""))
    package = RaTEScore(bert_model="x")
    assert package.compute_score([".", "abc"], ["abc", "abc"]) == [0.25]
    scores = ratescore(models).score(pairs)
    expected = [np.nan, 0.5, np.nan, 0.0]
    assert scores.per_case["ratescore"] == pytest.approx(expected, nan_ok=True)
    assert "ratescore: 1 pairs in which the package finds no sentence: NaN" in scores.notes
    assert "ratescore: 1 references are empty: NaN, left out of the mean" in scores.notes
    assert "ratescore: 1 generated texts are empty: 0" in scores.notes


def test_ratescore_names_models_that_cannot_be_loaded(install: Install, tmp_path: Path) -> None:
    install("RaTEScore", RaTEScore)
    broken = save_bert(tmp_path / "broken")
    with pytest.raises(BadCheckpoint, match="cannot be loaded: no such model"):
        ratescore((broken, broken)).score(predictions(("abc", "abc")))
    with pytest.raises(UserError, match=r"ratescore.entities: .* no config.json"):
        ratescore((tmp_path / "absent", broken)).score(predictions(("abc", "abc")))


def test_without_their_packages_both_say_how_to_install_them(
    graphs: Path, models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "radgraph", None)
    monkeypatch.setitem(sys.modules, "RaTEScore", None)
    pairs = predictions(("abc", "abc"))
    with pytest.raises(MissingPackage, match="run: pip install 'radgraph"):
        radgraph(graphs).score(pairs)
    with pytest.raises(MissingPackage, match="run: pip install RaTEScore medspacy"):
        ratescore(models).score(pairs)


def test_no_predictions_give_nan_and_need_no_package(
    graphs: Path, models: tuple[Path, Path]
) -> None:
    for scores in (radgraph(graphs).score([]), ratescore(models).score([])):
        assert np.isnan(list(scores.values.values())).all()
        assert scores.notes == ("no predictions to score",)


def test_both_keep_the_contract_of_a_metric_and_say_what_they_need(
    install: Install, graphs: Path, models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = load_plugins(only="none").catalog
    found = {name: catalog.get("metric", name) for name in ("radgraph", "ratescore")}
    assert [c.needs for c in found.values()] == [("radgraph>=0.1.18",), ("RaTEScore", "medspacy")]
    install("radgraph", F1RadGraph)
    install("RaTEScore", RaTEScore)
    monkeypatch.setattr(Component, "missing", lambda self: [])
    assert_component("metric", found["radgraph"], {"weights": str(graphs), "device": "cpu"})
    folders = {"entities": str(models[0]), "embeddings": str(models[1]), "device": "cpu"}
    assert_component("metric", found["ratescore"], folders)
