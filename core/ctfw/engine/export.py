"""A checkpoint as a folder for tools that do not know ctfw: written whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.engine.scan import backbone_of, block_of, unpack
from ctfw.errors import BadCheckpoint, UserError
from ctfw.exported import Exported, ExportingBackbone
from ctfw.runs.files import whole_folder, write_json, write_text

if TYPE_CHECKING:
    from ctfw.plugins import Plugins

SYNTHETIC = (
    "**This model was trained on synthetic data. What it writes says nothing about a patient.**"
)
_TURNED = (
    "Before the model sees a scan, it is turned so that slices go from feet to head, rows from "
    "anterior to posterior, and columns from the patient's right to left. Then it goes through "
    "these steps:"
)
_LICENCES = {
    "Qwen/Qwen2.5-VL-7B-Instruct": "Apache 2.0",
    "Qwen/Qwen2.5-VL-3B-Instruct": "the Qwen Research Licence, which excludes commercial use",
}


def export_checkpoint(path: Path, out: Path, plugins: Plugins, *, merged: bool) -> Exported:
    """Write the model of a checkpoint, stage or run folder to `out`, with a README.

    Raises UserError when `out` exists or the backbone cannot do it, BadCheckpoint when the folder
    would answer differently; `out` is then not there.
    """
    if out.exists():
        raise UserError(f"{out} is already there: name a new folder, or remove it first")
    packed = unpack(path, plugins)
    backbone = backbone_of(packed, plugins)
    if not isinstance(backbone, ExportingBackbone):
        name = packed.facts["backbone"]["use"]
        raise UserError(f"backbone '{name}' has no way to write models for other tools")
    try:
        with whole_folder(out) as unfinished:
            told = backbone.export(unfinished, packed.facts, merged=merged)
            steps = [step_told(step, plugins) for step in packed.facts["preprocess"]]
            card = readme(packed.folder, packed.facts, steps, told)
            write_text(unfinished / "README.md", card)
            write_json(unfinished / "ctfw.json", packed.facts)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{packed.folder}: {error}") from error
    return told


def readme(checkpoint: Path, facts: Mapping[str, Any], steps: Sequence[str], told: Exported) -> str:
    """What a reader who has never seen ctfw needs to know, in Markdown.

    steps  of the preprocessing, see `step_told`
    """
    made = [facts.get(key) for key in ("recipe", "stage", "step")]
    origin = f"Recipe `{made[0]}`, stage `{made[1]}`, step {made[2]}"
    checks = "\n".join(f"- {check}" for check in told.checks) or "- none: these are adapters alone"
    parts = [
        f"# {facts.get('recipe') or checkpoint.name}",
        *([SYNTHETIC] if facts.get("synthetic") else []),
        f"A model that writes the report of a CT scan, exported by ctfw. {origin}.",
        told.card.strip(),
        "## From the file to the slices",
        f"{_TURNED}\n\n" + "\n".join(f"1. {step}" for step in steps),
        f"## Checked at export\n\n{checks}",
        f"## Licence\n\n{_licence(told.base)}",
        "For research. Not a medical device.",
    ]
    return "\n\n".join(parts) + "\n"


def step_told(block: Mapping[str, Any], plugins: Plugins) -> str:
    """A step of the preprocessing: its name, what it does, its settings."""
    left_out = ("use", "folder")  # where a store lies is a fact of one machine
    values = {k: v for k, v in block.items() if k not in left_out and v is not None}
    told = ", ".join(f"{key} {json.dumps(value)}" for key, value in values.items())
    what = block_of(dict(block), "preprocessor", plugins).component.summary
    return f"`{block['use']}`, {what}" + (f": {told}" if told else "")


def _licence(base: str) -> str:
    data = (
        "The licence and terms of the training data may bear on weights made from them: ask before "
        "you pass this folder on."
    )
    if not base:
        return f"The weights started from random numbers. {data}"
    known = f": {_LICENCES[base]}" if base in _LICENCES else ", see its page"
    name = base if "/" in base and not base.startswith(("/", ".", "~")) else Path(base).name
    return f"The weights derive from `{name}`; its licence holds for them{known}. {data}"
