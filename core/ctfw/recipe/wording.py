"""Pydantic's findings in the words of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ctfw.component import Block
from ctfw.config import Strict, choices, nested_models
from ctfw.errors import did_you_mean

# The type of a pydantic error -> what is required, filled from the error's context.
REQUIRED = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a mapping of settings",
    "mapping_type": "must be a mapping of settings",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "path_type": "must be a path",
    "none_required": "must be null",
    "is_instance_of": "must be a component: {{use: NAME}}",
    "union_tag_invalid": "needs `use`: one of {expected_tags}",
    "union_tag_not_found": "needs `use`, which says of what kind it is",
}


def missing(name: str) -> str:
    return f"'{name}' is required"


def reword(errors: Iterable[Mapping[str, Any]]) -> str:
    """One sentence for the errors of one value; several mean that it may have several types."""
    parts: list[str] = []
    for error in errors:
        part = _required(error)
        if part not in parts:
            parts.append(part)
    first = parts[0]
    rest = [part.removeprefix("must be ") for part in parts[1:]]
    text = " or ".join([first, *rest])
    value = next(iter(errors))["input"]
    return text + (f", not {_shown(value)}" if text.startswith("must") else "")


def _required(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if error["type"] in ("value_error", "assertion_error"):
        return str(context.get("error", error["msg"]))
    template = REQUIRED.get(error["type"])
    if template is None:
        return str(error["msg"][0].lower() + error["msg"][1:])
    return template.format(**{key: _short(value) for key, value in context.items()})


def _short(value: Any) -> Any:
    """A bound as people write it: 0 rather than 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, Block):
        return "a single component"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."


def literal_hint(errors: Iterable[Mapping[str, Any]]) -> str:
    """A close match among the values that a setting may take."""
    for error in errors:
        if error["type"] == "literal_error" and isinstance(error["input"], str):
            expected = str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")
            return did_you_mean(error["input"], [each.strip("'") for each in expected])
    return ""


def unknown_setting(model: type[Strict], owner: str, name: str) -> tuple[str, str]:
    """(message, hint) for a key that the settings model does not have."""
    known = list(model.model_fields)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"'{owner}' has no setting '{name}'; {takes}", did_you_mean(name, known)


def located(model: type[Strict], loc: Iterable[Any]) -> tuple[tuple[Any, ...], type[Strict]]:
    """(location as the recipe has it, model that holds its last key); lists have no model.

    Where a field may hold one of several models, pydantic names the chosen one in between.
    """
    kept: list[Any] = []
    options: tuple[type[Strict], ...] = (model,)
    for key in loc:
        if chosen := tuple(o for o in options if len(options) > 1 and key in choices(o)):
            options = chosen
            continue
        kept.append(key)
        model = options[0] if options else model
        field = model.model_fields.get(str(key)) if options else None
        options = nested_models(field.annotation) if field is not None else ()
    return tuple(kept), model
