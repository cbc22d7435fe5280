"""Settings models, docstrings and signatures as Markdown, for `generate_reference.py`."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from ctfw.component import Block
from ctfw.config import Local, Strict, nested_model
from ctfw.recipe import load
from ctfw.registry import words
from ctfw.slots import Needs, Slot

PLAIN = {type(None): "null", int: "integer", float: "number", str: "text", bool: "true or false"}


def settings_table(model: type[Strict]) -> str:
    """Markdown table of the settings of a model."""
    if not model.model_fields:
        return "No settings."
    rows = ["| setting | type | default | what it is |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        note = " *(machine)*" * _is_local(field)
        cells = [f"`{name}`", type_of(field), default_of(field), (field.description or "") + note]
        rows.append("| " + " | ".join(escape(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _is_local(field: FieldInfo) -> bool:
    return any(isinstance(mark, Local) for mark in field.metadata)


def type_of(field: FieldInfo) -> str:
    """The type of a setting in words, with its limits."""
    text = _type(field.annotation, field.metadata)
    limits = [
        f"{sign} {_limit(getattr(mark, bound))}"
        for mark in field.metadata
        for bound, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if isinstance(getattr(mark, bound, None), (int, float))
    ]
    return text + (f", {', '.join(limits)}" if limits else "")


def _limit(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _type(annotation: Any, marks: Iterable[Any] = ()) -> str:
    for mark in marks:
        if isinstance(mark, Slot):
            return f"a {words(mark.kind)}"
        if isinstance(mark, Needs):
            return f"a stage's {mark.product}"
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0], annotation.__metadata__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(each) for each in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"{len(arguments)} × {_type(arguments[0])}"
    if origin in (list, tuple):
        return f"list of: {_type(arguments[0])}"
    if annotation in PLAIN:
        return PLAIN[annotation]
    return "settings" if nested_model(annotation) else annotation.__name__.lower()


def default_of(field: FieldInfo) -> str:
    """The default as YAML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Strict):
        return "see below"
    if isinstance(value, tuple) and len(value) > 6:
        return f"all {len(value)}"
    if isinstance(value, (tuple, list)):
        return "`[" + ", ".join(map(_yaml, value)) + "]`"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, Block):
        return value.name
    if isinstance(value, PurePath):
        value = str(value)
    return load.dump(value).strip().removesuffix("...").strip() or '""'


def prose(docstring: str | None) -> str:
    """A docstring as Markdown; paragraphs with aligned columns or indents stay as they are."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(docstring or ""))
    aligned = re.compile(r"^ {4}|^\w[\w, .]*? {2,}\S", re.MULTILINE)
    return "\n\n".join(
        fenced(block, "text") if aligned.search(block) else " ".join(block.split())
        for block in blocks
    )


def body(module: types.ModuleType) -> str:
    """A module's docstring without its first paragraph, which says what the code is."""
    return prose(inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2])


def signature(name: str, function: Callable[..., Any]) -> str:
    """`def name(a: int) -> str` without the quotes of postponed annotations."""
    text = str(inspect.signature(function))
    plain = re.sub(r"(?<=: |> )'([^']*)'", r"\1", text)
    return f"def {name}{plain}"


def fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


def escape(text: str) -> str:
    """Safe inside a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
