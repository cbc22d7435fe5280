"""The settings of a run that make its method: those that its recipe's hash is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctfw.config import Strict, choices, fields_with, local_fields, nested_models
from ctfw.errors import AmbiguousComponent, UnknownComponent, UserError
from ctfw.recipe.load import read
from ctfw.registry import Catalog
from ctfw.settings import Generation, Training
from ctfw.slots import Slot

_BLOCKS = {"data": "dataset", "backbone": "backbone", "labeler": "labeler", "metrics": "metric"}
_SETTINGS: dict[str, type[Strict]] = {"training": Training, "generation": Generation}
_TITLES = ("name", "summary")


def read_resolved(run: Path) -> dict[str, Any]:
    """The resolved recipe of a run as plain values.

    Raises UserError where it is not whole: cut, or without a stage that has written predictions.
    """
    file = run / "resolved.yaml"
    plain: dict[str, Any] = read(file)[0].plain()
    stages = plain.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise UserError(f"{file} is not whole: it has no stages. {_AGAIN}")
    made = sorted(path.parent.name for path in run.glob("stages/*/predictions.jsonl"))
    for name in made:
        block = stages.get(name)
        if not isinstance(block, dict) or "use" not in block:
            raise UserError(
                f"{file} is not whole: it lacks the stage '{name}', which ran. {_AGAIN}"
            )
    if not isinstance(plain.get("name"), str):
        raise UserError(f"{file} is not whole: it has no name. {_AGAIN}")
    return plain


_AGAIN = "Copy the run's folder again from where it was made"


def method_of(plain: Mapping[str, Any], catalog: Catalog) -> tuple[dict[str, Any], bool]:
    """(a resolved recipe without titles and facts of the machine, whether all is installed).

    Facts of the machine are the fields that their settings mark as `Local`. Of a component that is
    not installed every setting is kept, because nothing says which are local.
    """
    seen = _Walk(catalog)
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if key in _BLOCKS:
            found[key] = seen.slot(value, _BLOCKS[key])
        elif key in _SETTINGS and isinstance(value, Mapping):
            found[key] = seen.settings(value, _SETTINGS[key])
        elif key == "stages":
            found[key] = {name: seen.slot(block, "stage") for name, block in value.items()}
        elif key not in _TITLES:
            found[key] = value
    return found, seen.whole


def digest(method: Mapping[str, Any]) -> str:
    """The hash of a recipe, as `ctfw.recipe.pin.fingerprint` makes it, of the plain values."""
    return hashlib.sha256(json.dumps(method, sort_keys=True).encode()).hexdigest()


class _Walk:
    """Leaves out local fields; `whole` turns False at a component that is not installed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.whole = catalog, True

    def slot(self, value: Any, kind: str) -> Any:
        """What a slot holds: a block, a list of blocks, or nothing."""
        if isinstance(value, list):
            return [self.slot(item, kind) for item in value]
        if not isinstance(value, Mapping) or not isinstance(value.get("use"), str):
            return value
        model = self._model(kind, value["use"])
        rest = {key: item for key, item in value.items() if key != "use"}
        return {"use": value["use"]} | (rest if model is None else self.settings(rest, model))

    def settings(self, values: Mapping[str, Any], model: type[Strict]) -> dict[str, Any]:
        left_out = set(local_fields(model))
        slots = {name: slot.kind for name, slot in fields_with(model, Slot)}
        found: dict[str, Any] = {}
        for key, value in values.items():
            if key in left_out:
                continue
            field = model.model_fields.get(key)
            inner = _fitting(value, nested_models(field.annotation) if field else ())
            if key in slots:
                found[key] = self.slot(value, slots[key])
            else:
                found[key] = value if inner is None else self.settings(value, inner)
        return found

    def _model(self, kind: str, use: str) -> type[Strict] | None:
        """The settings of a component; those of another revision tell best what is local."""
        try:
            return self.catalog.get(kind, use).config
        except (UnknownComponent, AmbiguousComponent):
            self.whole = False
        try:
            return self.catalog.get(kind, use.partition("@")[0]).config
        except (UnknownComponent, AmbiguousComponent):
            return None


def _fitting(value: Any, models: tuple[type[Strict], ...]) -> type[Strict] | None:
    """The model of nested settings; of several the one whose `use` was chosen."""
    if not isinstance(value, Mapping) or not models:
        return None
    chosen = [model for model in models if value.get("use") in choices(model)]
    return (chosen or list(models))[0]
