"""`ctfw schema`: JSON Schema of recipes, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ctfw.plugins import load_plugins
from ctfw.recipe.export import json_schema


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there, not to stdout.")
    ] = None,
) -> None:
    """Write the JSON Schema of recipes with the settings of every installed component."""
    text = json.dumps(json_schema(load_plugins().catalog), indent=1) + "\n"
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")
