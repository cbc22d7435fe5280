"""Metrics of `evaluate` are taken from disk, ours are offered to it, and no network is asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.errors import MissingPackage, UserError
from ctfw.scoring import hf
from ctfw.scoring.table import build_table
from ctfw.types import Prediction
from ctfw_plugins.metrics.accuracy import Accuracy
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import (
    AccuracyConfig,
    BleuConfig,
    HfEvaluateConfig,
    RougeLConfig,
)
from ctfw_plugins.metrics.hf_evaluate import HfEvaluate
from ctfw_plugins.metrics.rouge_l import RougeL

SCRIPT = """
import datasets
import evaluate


class Words(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=features
        )

    def _compute(self, predictions, references, fail=False, each=False):
        if fail:
            raise RuntimeError("not these texts")
        counts = [len(text.split()) for text in predictions]
        found = {"mean_words": sum(counts) / len(counts), "name": "words"}
        return found | ({"words": counts} if each else {})
"""
TEXTS = [("a b c", "a b d"), ("a", "a b"), ("", "x")]
MADE = [Prediction(f"c{i}", f"p{i}", *texts) for i, texts in enumerate(TEXTS)]


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, writing to a temporary folder, on a machine without network."""
    module = pytest.importorskip(
        "evaluate", reason="evaluate is not installed: pip install -e '.[hf-metrics]'"
    )

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    for name in ("HF_MODULES_CACHE", "HF_METRICS_CACHE"):
        monkeypatch.setattr(module.config, name, tmp_path / "cache")
    return module


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "words" / "words.py"
    file.parent.mkdir()
    file.write_text(SCRIPT, encoding="utf-8")
    return file


def made(script: Path, **settings: Any) -> HfEvaluate:
    return HfEvaluate(HfEvaluateConfig(path=script, **settings))


def test_a_script_or_its_folder_is_scored(evaluate: Any, script: Path) -> None:
    for path in (script, script.parent):
        scores = made(path).score(MADE)
        assert scores.values == {"hf-mean-words": pytest.approx(4 / 3)}
        assert scores.protocol.startswith("hf-evaluate|words|corpus|script:")
        assert scores.notes == ("words: left out, because they are no numbers: name",)
    table = build_table({"model": {"hf": scores}}, ["p0", "p1", "p2"])
    assert table.row("model").cell("hf-mean-words").text() == "1.333"


def test_values_by_case_have_intervals(evaluate: Any, script: Path) -> None:
    for settings in ({"by_case": True}, {"arguments": {"each": True}}):
        scores = made(script, **settings).score(MADE)
        column = "hf-mean-words" if "by_case" in settings else "hf-words"
        assert scores.per_case[column].tolist() == [3, 1, 0]
        assert scores.values[column] == pytest.approx(4 / 3)
    assert '{"each": true}' in scores.protocol


def test_what_the_script_refuses_is_said(evaluate: Any, script: Path) -> None:
    with pytest.raises(UserError, match="RuntimeError: not these texts"):
        made(script, arguments={"fail": True}).score(MADE)
    with pytest.raises(UserError, match="case 'c0'"):
        made(script, arguments={"fail": True}, by_case=True).score(MADE)
    assert np.isnan(made(script).score([]).values["hf"])


def test_a_script_that_wants_the_network_is_refused(evaluate: Any, script: Path) -> None:
    line = "from .other import score  # From: https://example.org/other.py\n"
    script.write_text(line + SCRIPT, encoding="utf-8")
    with pytest.raises(UserError, match="without network"):
        made(script)


def test_ours_are_offered_as_evaluate_metrics(evaluate: Any) -> None:
    bleu, rouge = Bleu(BleuConfig()), RougeL(RougeLConfig())
    offered = hf.as_evaluate(bleu)
    assert isinstance(offered, evaluate.Metric)
    generated, reference = (list(side) for side in zip(*TEXTS, strict=True))
    found = offered.compute(predictions=generated, references=reference)
    expected = bleu.score(MADE)
    assert found == {**expected.values, "protocol": expected.protocol}
    for gen, ref in TEXTS:
        offered.add(prediction=gen, reference=ref)
    assert offered.compute() == found
    both = evaluate.combine([hf.as_evaluate(bleu), hf.as_evaluate(rouge)])
    together = both.compute(predictions=generated, references=reference)
    assert together["rouge-l"] == rouge.score(MADE).values["rouge-l"]


def test_the_flags_are_put_back(evaluate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with hf.offline():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        assert evaluate.config.HF_EVALUATE_OFFLINE
    assert "HF_HUB_OFFLINE" not in os.environ
    assert not evaluate.config.HF_EVALUATE_OFFLINE


def test_a_metric_of_labels_is_offered_with_a_labeler_only() -> None:
    with pytest.raises(UserError, match="labeler"):
        hf.as_evaluate(Accuracy(AccuracyConfig()))


def test_missing_evaluate_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(hf, "import_module", absent)
    with pytest.raises(MissingPackage, match="hf-metrics"), hf.offline():
        pass


def test_a_name_is_never_looked_up_on_a_hub(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whole path"):
        HfEvaluateConfig(path=Path("rouge"))
    with pytest.raises(UserError, match=r"rouge\.py: no such file"):
        hf.script_of(tmp_path / "rouge")
