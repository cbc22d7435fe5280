"""The checks, one function per kind; each failure says what the contract asks for."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ctfw import contracts
from ctfw.component import KINDS, Component
from ctfw.config import Strict, fields_with
from ctfw.engine.context import Context
from ctfw.labels import CT_RATE_LABELS
from ctfw.slots import Slot
from ctfw.testing.data import tiny_cases, tiny_predictions, tiny_volume
from ctfw.types import CaseTable, LossTerms, Negative, Scores, StepOutput, Volume

HEAVY = ("torch", "transformers", "nibabel", "evaluate", "deepspeed")
PROTOCOLS: dict[str, type[Any]] = {
    "dataset": contracts.Dataset,
    "volume_loader": contracts.VolumeLoader,
    "preprocessor": contracts.Preprocessor,
    "negative_sampler": contracts.NegativeSampler,
    "loss": contracts.Loss,
    "metric": contracts.Metric,
    "labeler": contracts.Labeler,
    "backbone": contracts.Backbone,
    "stage": contracts.Stage,
}


def assert_component(
    kind: str, component: Component, settings: dict[str, Any] | None = None
) -> None:
    """Raise AssertionError when a component breaks the contract of its kind.

    settings  values for settings that have no default; a component whose settings still cannot
              be made (because they hold other components) is checked as far as its class goes
    """
    assert kind in KINDS, f"unknown kind {kind!r}; kinds are {', '.join(KINDS)}"
    component = replace(component, kind=kind, provider=component.provider or "test")
    _declaration(component)
    target = component.load()
    _methods(kind, target)
    config = _config(component, settings or {})
    if config is None or kind in ("dataset", "backbone", "stage"):
        return
    part = target(config, Context())
    _BEHAVIOUR[kind](part)


def _declaration(component: Component) -> None:
    assert component.summary.strip(), f"{component.name}: say in one line what it is"
    for name, field in component.config.model_fields.items():
        assert field.description, f"{component.name}: setting {name!r} has no description"
    module = component.config.__module__
    loaded = _heavy_imports(module, os.pathsep.join(filter(None, sys.path)))
    assert not loaded, f"{module} imports {', '.join(loaded)}: declare without importing them"


@cache
def _heavy_imports(module: str, path: str) -> tuple[str, ...]:
    """What importing a module pulls in, in a process of its own; asked once per module."""
    code = (
        f"import sys, importlib; importlib.import_module({module!r}); "
        f"print(*[m for m in {HEAVY!r} if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, f"{module} cannot be imported: {done.stderr.strip()}"
    return tuple(done.stdout.split())


def _methods(kind: str, target: Callable[..., Any]) -> None:
    """The class has every method of the protocol, each taking the protocol's arguments."""
    parameters = list(inspect.signature(target).parameters)
    assert parameters[:1] == ["config"], f"{target!r} is called as target(config, context)"
    assert len(parameters) >= 2, f"{target!r} must take the context as its second argument"
    for name, member in vars(PROTOCOLS[kind]).items():
        if name.startswith("_") and name != "__call__":
            continue
        if not callable(member):
            continue
        own = getattr(target, name, None)
        assert callable(own), f"a {kind} needs the method {name}()"
        wanted = [p for p in inspect.signature(member).parameters if p != "self"]
        given = inspect.signature(own).parameters
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in given.values())
        missing = [p for p in wanted if p not in given and not open_ended]
        assert not missing, f"{name}() of a {kind} must take {', '.join(missing)}"


def _config(component: Component, settings: dict[str, Any]) -> Strict | None:
    required = {n for n, f in component.config.model_fields.items() if f.is_required()}
    slots = {name for name, _ in fields_with(component.config, Slot)}
    if required - set(settings):
        assert required - set(settings) <= slots or settings == {}, (
            f"{component.name}: give assert_component settings for {required - set(settings)}"
        )
        return None
    return component.config(**settings)


def _volume_loader(loader: contracts.VolumeLoader) -> None:
    import tempfile
    from pathlib import Path

    from ctfw.errors import UserError

    with tempfile.TemporaryDirectory() as folder:
        assert loader.can_read(Path(folder) / "absent") is False, "can_read never raises"
        junk = Path(folder) / "junk.nii.gz"
        junk.write_bytes(b"not a scan")
        assert loader.can_read(junk) in (True, False), "can_read answers yes or no"
        try:
            loader.load(junk)
        except UserError:
            return
        raise AssertionError("load() of a file that is no scan must raise an error of ctfw.errors")


def _preprocessor(step: contracts.Preprocessor) -> None:
    source = tiny_volume()
    before = source.array.copy()
    result = step(source)
    assert isinstance(result, Volume), "a preprocessor returns a Volume"
    assert np.isfinite(result.array).all(), "no NaN may come out of clean values"
    assert np.array_equal(source.array, before), "a preprocessor must not change its input"
    kept = result.provenance[: len(source.provenance)]
    assert kept == source.provenance, "a preprocessor keeps the provenance that it was given"


def _negative_sampler(sampler: contracts.NegativeSampler) -> None:
    cases = tiny_cases()
    sampler.fit(cases)
    sampler.refresh(0, 7)
    drawn = [sampler.draw(case, np.random.default_rng(i)) for i, case in enumerate(cases)]
    for anchor, negative in zip(cases, drawn, strict=True):
        assert isinstance(negative, Negative), "draw() returns a Negative"
        if negative.case is not None:
            assert negative.case.patient != anchor.patient, "a negative is never the same patient"
        _altered(negative)
    sampler.refresh(0, 7)
    again = [sampler.draw(case, np.random.default_rng(i)) for i, case in enumerate(cases)]
    for first, second in zip(drawn, again, strict=True):
        same = _identity(first) == _identity(second)
        assert same, "the same (seed, epoch, rng) must draw the same negative"
    assert isinstance(dict(sampler.summary()), dict), "summary() is a mapping"


def _altered(negative: Negative) -> Volume | None:
    """The image that a negative makes of two tiny chests; None where it is another case's own."""
    source, donor = _normalised(), _normalised(seed=1)
    if negative.graft is not None:
        made = negative.graft(source, donor)
    elif negative.transform is not None:
        made = negative.transform(source)
    else:
        return None
    assert made.array.shape == source.array.shape, "a transform keeps the shape"
    assert not np.array_equal(made.array, source.array), "a negative must differ from the anchor"
    return made


def _identity(negative: Negative) -> tuple[str, bytes]:
    made = _altered(negative)
    return (
        negative.case.id if negative.case else "",
        made.array.tobytes() if made is not None else b"",
    )


def _normalised(seed: int = 0) -> Volume:
    volume = tiny_volume(seed=seed)
    return volume.but(array=np.clip(volume.array / 1000, -1, 1), intensity="normalised")


def _loss(loss: contracts.Loss) -> None:
    import torch

    named = {"image", "text", *getattr(loss, "embeddings", ())}

    def output(scale: float) -> StepOutput:
        torch.manual_seed(0)
        nll = (torch.rand(3, 5) * scale).requires_grad_()
        answer = torch.ones(3, 5, dtype=torch.bool)
        answer[0, 3:] = False
        embeddings = {name: torch.rand(3, 4).requires_grad_() for name in sorted(named)}
        marks = {name: torch.rand(3, 5) < 0.5 for name in getattr(loss, "marks", ())}
        return StepOutput(nll, answer, embeddings, marks)

    positive, negative = output(1.0), output(2.0)
    terms = loss(positive, negative if loss.uses_negative else None, progress=0.5)
    assert isinstance(terms, LossTerms), "a loss returns LossTerms"
    assert terms.total.ndim == 0, "total is a scalar"
    assert math.isfinite(float(terms.total.detach())), "total is finite on finite input"
    assert all(isinstance(v, float) for v in terms.terms.values()), "terms are plain numbers"
    terms.total.backward()
    reached = [positive.nll.grad, *(each.grad for each in positive.embeddings.values())]
    assert any(grad is not None for grad in reached), "the positive must receive gradient"
    behind = positive.nll.grad is not None and bool(positive.nll.grad[0, 3:].any())
    assert not behind, "tokens outside the answer mask must not count"


def _metric(metric: contracts.Metric) -> None:
    predictions = tiny_predictions()
    scores = metric.score(predictions, label_names=CT_RATE_LABELS)
    assert isinstance(scores, Scores), "score() returns Scores"
    assert scores.protocol, "a score names its protocol"
    assert scores.values, "a metric has at least one value"
    for name, values in scores.per_case.items():
        assert len(values) == len(predictions), f"per_case[{name!r}] has one value per prediction"
    if scores.statistics is not None:
        assert scores.reduce is not None, "statistics come with reduce"
        reduced = scores.reduce(scores.statistics.sum(0))
        for name in set(reduced) & set(scores.values):
            close = np.isclose(reduced[name], scores.values[name], equal_nan=True)
            assert close, f"reduce(sum of statistics) must give value {name!r}"


def _labeler(labeler: contracts.Labeler) -> None:
    cases: CaseTable = tiny_cases(4)
    labels = labeler.label([*cases.reports, ""])
    assert labels.shape == (5, len(labeler.names)), "label() gives one row per text"
    assert set(np.unique(labels)) <= {0, 1}, "labels are 0 or 1"
    assert not labels[-1].any(), "an empty text has no findings"
    assert labeler.signature, "a labeler has a signature"
    assert np.array_equal(labels[:2], labeler.label(cases.reports[:2])), "texts are independent"


_BEHAVIOUR: dict[str, Callable[[Any], None]] = {
    "volume_loader": _volume_loader,
    "preprocessor": _preprocessor,
    "negative_sampler": _negative_sampler,
    "loss": _loss,
    "metric": _metric,
    "labeler": _labeler,
}
