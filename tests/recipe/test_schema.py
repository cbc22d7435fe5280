"""The JSON Schema accepts what the resolver accepts, and catches what an editor can catch."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from ctfw.plugins import Plugins
from ctfw.recipe.export import json_schema
from ctfw.recipe.load import parse

GOOD = [
    "ctfw: 1\nseed: 3\ntraining: {epochs: 1}",
    "stages: {tune: {loss: {beta: 0.1}}}",
    "stages: {t: {use: finetune, loss: {use: dpo, beta: 1}, negatives: null}}",
    "stages: {t: {use: ctfw/finetune@1, training: {max_steps: null}}}",
    "data: {use: toy, loader: {use: ctfw/nifti}, preprocess: [{use: hu-window, low: -5}]}",
    "backbone: {use: tiny, shape: {layers: 3}}",
    "metrics: [{use: bleu, n: 1}, {use: coverage@2}]\nlabeler: null",
    "matrix: {seed: [1, 2]}",
    "matrix: [{kind: {a: {}, b: {seed: 1}}}, {seed: [3]}]",
]
BAD = [
    "ctfw: 2",
    "sed: 3",
    "seed: -1",
    "training: {epoch: 1}",
    "backbone: {use: tny}",
    "backbone: {use: tiny, shape: {layer: 3}}",
    "backbone: {use: tiny, dtype: bfloat61}",
    "metrics: [{use: bleu, n: 5}]",
    "metrics: {use: bleu}",
    "stages: {t: {use: finetune, loss: {use: heter}}}",
    "stages: {t: {use: finetune, los: {use: dpo}}}",
    "stages: {t: {use: finetune, loss: cross-entropy}}",
    "matrix: {seed: 1}",
]


@pytest.fixture
def schema(fake_plugins: Plugins) -> dict[str, Any]:
    found = json_schema(fake_plugins.catalog)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize("text", GOOD)
def test_schema_accepts(schema: dict[str, Any], text: str) -> None:
    jsonschema.validate(parse(text, "f").plain(), schema)


@pytest.mark.parametrize("text", BAD)
def test_schema_refuses(schema: dict[str, Any], text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parse(text, "f").plain(), schema)


def test_schema_carries_summaries_and_descriptions(schema: dict[str, Any]) -> None:
    branch = next(b for b in schema["$defs"]["negative_sampler"]["oneOf"] if b.get("title"))
    assert branch["description"] == "the gauss of the tests"
    settings = schema["$defs"]["negative_sampler"]["oneOf"][1]["properties"]
    assert settings["min_label_distance"]["description"] == "labels that must differ"
