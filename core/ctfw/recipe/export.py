"""JSON Schema of recipes, with the settings of every installed component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctfw.component import KINDS, Component
from ctfw.config import Strict
from ctfw.recipe.resolve import Header
from ctfw.registry import BUILTIN, Catalog, words
from ctfw.settings import Generation, Training

Schema = dict[str, Any]


def json_schema(catalog: Catalog) -> Schema:
    """Schema (draft 2020-12) of a recipe or profile file, for editors.

    A file may be a layer over another one, so nothing is required and a block without `use` may
    hold any setting: completeness is what `ctfw validate` checks.
    """
    definitions: Schema = {}
    shared = {name: _settings(model, name, definitions) for name, model in _SHARED.items()}
    for kind in KINDS:
        branches = [_branch(catalog, component, definitions) for component in catalog.all(kind)]
        definitions[kind] = {
            "description": f"a {words(kind)}",
            "oneOf": [*branches, {"type": "object", "not": {"required": ["use"]}}],
        }
    header = _settings(Header, "header", definitions)["properties"]
    header["ctfw"] = {"const": 1, "description": "version of the recipe format"}
    blocks = {"data": "dataset", "backbone": "backbone", "labeler": "labeler"}
    properties = {
        **header,
        **{name: _or_null(_ref(kind)) for name, kind in blocks.items()},
        **shared,
        "metrics": _or_null({"type": "array", "items": _ref("metric")}),
        "stages": {
            "type": "object",
            "description": "steps of the recipe by name; their references give the order",
            "additionalProperties": _ref("stage"),
        },
        "matrix": {
            "description": "a grid of axes, or a list of grids, for `ctfw sweep`",
            "anyOf": [_GRID, {"type": "array", "items": _GRID}, {"type": "null"}],
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ctfw recipe",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


_SHARED: dict[str, type[Strict]] = {"training": Training, "generation": Generation}
_GRID: Schema = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "oneOf": [
            {"type": "array", "minItems": 1},
            {"type": "object", "additionalProperties": {"type": "object"}},
        ]
    },
}


def _branch(catalog: Catalog, component: Component, definitions: Schema) -> Schema:
    """The block of one component, told from the others by its `use`."""
    qualified = f"{component.provider}/{component.name}"
    spellings = [qualified, f"{qualified}@{component.revision}"]
    if component.provider == BUILTIN or component.name in catalog.names(component.kind):
        spellings = [component.name, f"{component.name}@{component.revision}", *spellings]
    key = f"{component.kind}.{component.provider}.{component.name}"
    schema = _settings(component.config, key, definitions)
    schema["title"] = component.name
    schema["description"] = component.summary
    schema["properties"] = {"use": {"enum": spellings}} | schema.get("properties", {})
    schema["required"] = ["use"]
    return schema


def _settings(model: type[Strict], key: str, definitions: Schema) -> Schema:
    """Schema of a settings model; the models it holds go to `definitions` under `key`."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
    inner = schema.pop("$defs", {})
    for name, part in inner.items():
        definitions[f"{key}.{name}"] = _rewrite(part, _layer)
    return _rewrite(schema, _layer)


def _layer(schema: Schema) -> Schema:
    """Nothing is required of a layer, and slots hold installed components."""
    if schema.get("type") == "object":
        schema = {k: v for k, v in schema.items() if k != "required"}
    if isinstance(kind := schema.get("x-slot"), str):
        schema = {k: v for k, v in schema.items() if k != "x-slot"} | _ref(kind)
    return schema


def _rewrite(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    if isinstance(schema, list):
        return [_rewrite(item, change) for item in schema]
    if isinstance(schema, dict):
        return change({key: _rewrite(value, change) for key, value in schema.items()})
    return schema


def _ref(kind: str) -> Schema:
    return {"$ref": f"#/$defs/{kind}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
