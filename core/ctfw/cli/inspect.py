"""`ctfw inspect`: what the model would see of a scan, and every decision taken on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.volumes.plausible import remarks

if TYPE_CHECKING:
    from ctfw.component import Block
    from ctfw.engine.context import Context
    from ctfw.plugins import Plugins
    from ctfw.types import Case, Volume
    from ctfw.volumes.pipeline import VolumePipeline

_NEARLY_FLAT = 0.02
_SHEET = ".sheet.png"
ENDINGS = (
    ".nii.gz", ".nii", ".npy", ".npz", ".dcm", ".mha", ".mhd", ".nrrd", ".nhdr", ".png", ".jpg",
    ".jpeg",
)  # fmt: skip
DEFAULT_STEPS = (
    {"use": "rescale-hu"},
    {"use": "resample"},
    {"use": "hu-window"},
    {"use": "slices"},
)


def inspect(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
            readable=False,
            help="Scans: NIfTI, DICOM folders, NPY, NPZ, MHA, NRRD.",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="RECIPE", help="Use this recipe's preprocessing."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="The recipe's profile.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FOLDER", help="Use this checkpoint's instead."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the contact sheets go.")
    ] = Path(),
    slices: Annotated[
        bool,
        typer.Option(
            "--slices", help="Also write what the model would see, in HU, as NPZ for other tools."
        ),
    ] = False,
) -> None:
    """Write a contact sheet of what the model would see, with every decision taken.

    Without a recipe or checkpoint: HU, 0.75 x 0.75 x 1.5 mm, window -1000 to 1000, 10 slices. With
    a recipe, what its data set says of the scan is used too, such as a spacing in a table.
    """
    plugins = load_plugins()
    if checkpoint is not None and recipe is not None:
        raise UserError("give --recipe or --checkpoint, not both")
    if profile is not None and recipe is None:
        raise UserError("--profile belongs to a recipe: give --recipe too")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: a file of that name is in the way")
    pipeline, known = _pipeline(plugins, recipe, profile, checkpoint)
    used: set[Path] = set()
    refused = [scan for scan in scans if not _one(scan, pipeline, known, out, used, slices)]
    if refused:
        raise UserError(f"{len(refused)} of {len(scans)} scans refused")


def _pipeline(
    plugins: Plugins, recipe: str | None, profile: str | None, checkpoint: Path | None
) -> tuple[VolumePipeline, dict[Path, Case]]:
    """(the chain, the cases of the recipe's data set by their file)."""
    from ctfw.engine.context import Context
    from ctfw.engine.scan import bare_pipeline, block_of, unpack

    if checkpoint is not None:
        return unpack(checkpoint, plugins).pipeline, {}
    context = Context()
    if recipe is None:
        steps = [block_of(dict(step), "preprocessor", plugins) for step in DEFAULT_STEPS]
        return bare_pipeline(plugins, None, steps, context), {}
    from ctfw.recipe import resolve

    data = resolve(recipe, (), profile, plugins).data
    settings: Any = data.settings
    pipeline = bare_pipeline(plugins, settings.loader, list(settings.preprocess), context)
    return pipeline, _cases(data, context)


def _cases(data: Block, context: Context) -> dict[Path, Case]:
    """The cases of a data set by file; none, with a word, where it is not on this machine."""
    found: dict[Path, Case] = {}
    try:
        dataset = context.build(data)
        for split in ("train", "validation", "test"):
            found |= {case.image.resolve(): case for case in dataset.cases(split)}
    except UserError:
        if not found:
            text = f"the data set '{data.name}' is not here: what its tables say is not used"
            print(text, file=sys.stderr)
    return found


def _one(
    scan: Path,
    pipeline: VolumePipeline,
    known: Mapping[Path, Case],
    out: Path,
    used: set[Path],
    slices: bool,
) -> bool:
    """Inspect one scan; False when it is refused, with the reason said."""
    from ctfw.volumes.sheet import contact_sheet

    raw: Volume | None = None
    case = known.get(scan.resolve())
    if known and case is None:
        print(f"{scan} is no scan of the data set: its tables are not used", file=sys.stderr)
    try:
        raw = pipeline.source(scan, case)
        seen = pipeline(scan, case)
    except UserError as error:
        print(f"{scan}\n  refused: {error}", file=sys.stderr)
        if raw is not None:
            name = _sheet_name(scan, out, used)
            print(f"  contact sheet: {contact_sheet(raw, None, scan.name, str(error), name)}")
        return False
    for line in facts(scan, raw, seen):
        print(line)
    verdict = _verdict(raw, seen)
    print(f"  verdict: {verdict}")
    sheet = contact_sheet(raw, seen, scan.name, verdict, _sheet_name(scan, out, used))
    print(f"  contact sheet: {sheet}")
    if slices:
        from ctfw.volumes.slices_file import write_slices

        file = sheet.with_name(sheet.name.removesuffix(_SHEET) + ".slices.npz")
        print(f"  slices: {write_slices(seen, file)}")
    return True


def _verdict(raw: Volume, seen: Volume) -> str:
    """Whether the scan can be used, on what scale its values were, and what is unusual."""
    decided = next((d for d in seen.provenance if d.step == "rescale-hu"), None)
    odd = remarks(raw.spacing_mm, raw.extent_mm) if raw.array.shape[0] > 1 else []
    low, high = np.percentile(seen.array[:, ::2, ::2], (1, 99))
    if decided is not None and high - low < _NEARLY_FLAT * max(1e-6, float(np.ptp(_ends(seen)))):
        odd.append("what the model sees is nearly one grey value: are these values HU?")
    told = "usable, but " + "; ".join(odd) if odd else "usable"
    return f"{told}; {decided.text.partition(':')[0]}" if decided is not None else told


def _ends(seen: Volume) -> tuple[float, float]:
    """The black and the white of the model's window."""
    from ctfw.volumes.drawing import grey_range

    return grey_range(seen)


def facts(scan: Path, raw: Volume, seen: Volume) -> list[str]:
    """Geometry of the source, decisions, and what the model gets."""
    z, y, x = raw.spacing_mm
    depth, height, width = raw.array.shape
    extent = " x ".join(f"{value:.0f}" for value in reversed(raw.extent_mm))
    lines = [
        str(scan),
        f"  source: {width} x {height} x {depth} voxels of {x:.2f} x {y:.2f} x {z:.2f} mm "
        f"(x, y, z), {extent} mm, axes {raw.orientation}",
    ]
    lines += [f"  {decision.step}: {decision.text}" for decision in seen.provenance]
    shown, high, wide = seen.array.shape
    count = f"{shown} slice{'s' * (shown != 1)}"
    lines.append(f"  the model sees {count} of {wide} x {high} pixels, {seen.intensity}")
    return lines


def _sheet_name(scan: Path, out: Path, used: set[Path]) -> Path:
    """A name of its own for each scan of one call, also where base names are the same."""
    name = scan.name
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    number, found = 2, out / f"{name}{_SHEET}"
    while found in used:
        number, found = number + 1, out / f"{name}-{number}{_SHEET}"
    used.add(found)
    return found
