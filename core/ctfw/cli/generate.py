"""`ctfw generate`: the report of a bare CT file, from a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.plugins import load_plugins

SYNTHETIC = "[model trained on synthetic data: this text says nothing about the patient]"


def generate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, stage or run folder.")
    ],
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="A NIfTI or NPY file, or a DICOM folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the report here.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="PNG", help="Also draw what the model saw.")
    ] = None,
) -> None:
    """Preprocess a scan as the checkpoint was trained, and write its report."""
    from ctfw.engine.bench import scan_path
    from ctfw.engine.run import quiet_libraries
    from ctfw.engine.scan import backbone_of, unpack
    from ctfw.runs.files import write_text
    from ctfw.settings import Generation

    path = scan_path(str(scan))
    plugins = load_plugins()
    packed = unpack(checkpoint, plugins)
    volume = packed.pipeline(path)
    for decision in volume.provenance:
        print(f"  {decision.step}: {decision.text}", file=sys.stderr)
    quiet_libraries()
    backbone = backbone_of(packed, plugins)
    backbone.module().eval()
    known = {k: v for k, v in packed.facts["generation"].items() if k in Generation.model_fields}
    settings = Generation(**known)
    text, finish = backbone.generate(backbone.see([backbone.encode(volume)]), settings)[0]
    if finish == "length":
        print(f"the report was cut at {settings.max_new_tokens} tokens", file=sys.stderr)
    report = f"{SYNTHETIC}\n{text}" if packed.facts.get("synthetic") else text
    if sheet is not None:
        from ctfw.volumes.sheet import contact_sheet

        contact_sheet(packed.pipeline.source(path), volume, path.name, "what the model saw", sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    if out is None:
        print(report)
    else:
        write_text(out, report + "\n")
        print(f"report: {out}", file=sys.stderr)
