"""The header of a NIfTI file: what is stored, how many voxels, and where they lie.

Everything it says is bounded and compared before it is believed.
"""

from __future__ import annotations

import math
from typing import IO

import numpy as np

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.nifti_fields import InvalidQform, NiftiFields

_MAX_DIM = 4096
_MAX_DEFLATE = 1032  # no deflate stream expands further


def read_header(stream: IO[bytes]) -> NiftiFields:
    """Parse and bound the header; the stream stands behind it. Raises UnreadableVolume, NotCT."""
    start = stream.read(4)
    known = NiftiFields.length(start) if len(start) == 4 else None
    if known is None:
        raise UnreadableVolume("not a NIfTI file: its first bytes are not those of a header")
    length, order = known
    block = start + stream.read(length - 4)
    if len(block) < length:
        raise EOFError
    header = NiftiFields.of(block, order)
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise UnreadableVolume(
            "the voxels are not in this file (a header with a separate .img, or no NIfTI): convert "
            "it to a single .nii.gz"
        )
    if header.dtype is None and header.kind:
        raise NotCT(f"the voxels are {header.kind}, not HU: give the CT itself")
    if header.dtype is None:
        raise UnreadableVolume(f"voxels of the unknown type {int(header['datatype'])}")
    return header


def shape_of(header: NiftiFields) -> tuple[int, int, int]:
    """(x, y, z). Raises UnreadableVolume for anything but three axes of a sensible length."""
    dims = [int(n) for n in header["dim"]]
    rank, shape = dims[0], dims[1 : 1 + max(dims[0], 0)]
    if not 1 <= rank <= 7 or any(not 1 <= n <= _MAX_DIM for n in shape):
        raise UnreadableVolume(
            f"the header's size {shape} is not that of a volume (1 to {_MAX_DIM})"
        )
    if any(n > 1 for n in shape[3:]):
        times = math.prod(shape[3:])
        raise UnreadableVolume(
            f"4D with {times} time points of {shape[0]} x {shape[1]} x {shape[2]} voxels: store "
            "the one to be read as a file of its own"
        )
    if len(shape) < 3:
        raise UnreadableVolume(f"{rank}D, a single picture: a volume needs three axes")
    return shape[0], shape[1], shape[2]


def must_fit_file(
    header: NiftiFields, shape: tuple[int, int, int], file_size: int, packed: bool
) -> None:
    """Raise UnreadableVolume, before memory is taken, for more voxels than the file can hold."""
    assert header.dtype is not None
    wanted = math.prod(shape) * header.dtype.itemsize
    if wanted > file_size * (_MAX_DEFLATE if packed else 1):
        raise UnreadableVolume(
            f"the header promises {wanted / 1e6:.1f} MB of voxels, more than the file can hold"
        )
    voxels_at(header)


def voxels_at(header: NiftiFields) -> int:
    """The byte where the voxels begin. Raises UnreadableVolume for a place that cannot be."""
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset - header.size <= 1 << 26:
        raise UnreadableVolume(f"the voxels are said to start at byte {offset:g}, which cannot be")
    return int(offset)


def scaling_of(header: NiftiFields) -> tuple[float, float]:
    """(slope, intercept); (1, 0) where the slope is 0, NaN or infinite, as the format says."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise UnreadableVolume(f"the header has slope {slope:g} but intercept {intercept:g}")
    return slope, intercept


def affine_of(header: NiftiFields, shape: tuple[int, ...], wish: str) -> tuple[np.ndarray, str]:
    """(4x4 in mm, "sform" | "qform" | "pixdim alone")."""
    to_mm = np.diag([header.to_mm] * 3 + [1.0])
    found: dict[str, np.ndarray] = {}
    if int(header["sform_code"]) > 0:
        found["sform"] = to_mm @ header.sform()
    if int(header["qform_code"]) > 0:
        qform = _qform(header, only="sform" not in found or wish == "qform")
        if qform is not None:
            found["qform"] = to_mm @ qform
    if wish != "auto":
        if wish not in found:
            raise UnreadableVolume(f"`geometry: {wish}` is asked for, and the file has none")
        return found[wish], wish
    if len(found) == 2:
        _must_agree(found["sform"], found["qform"], shape)
    elif "sform" in found:
        _must_fit_pixdim(found["sform"], header.to_mm * header.pixdim)
    for name in ("sform", "qform"):
        if name in found:
            return found[name], name
    return to_mm @ header.by_size(shape[::-1]), "pixdim alone (the file records no orientation)"


def _qform(header: NiftiFields, only: bool) -> np.ndarray | None:
    """The qform; None when it is invalid and the file has a better transform."""
    if not only and not (header.pixdim > 0).all():
        return None
    try:
        qform = header.qform()
    except InvalidQform as error:
        if only:
            raise UnreadableVolume(f"the qform is invalid: {error}") from error
        return None
    return qform if only or np.isfinite(qform).all() else None


def _must_agree(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise UnreadableVolume when a corner differs by more than half of the smallest spacing."""
    z, y, x = (n - 1 for n in shape)
    corners = np.array([(i, j, k, 1) for i in (0, x) for j in (0, y) for k in (0, z)]).T
    apart = np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()
    spacing = np.linalg.norm(sform[:3, :3], axis=0).min()
    if not apart <= 0.5 * max(spacing, 1e-3):
        worst = np.abs(sform - qform)[:3, :3].max()
        raise UnreadableVolume(
            f"sform and qform disagree by {apart:.1f} mm at a corner (largest difference of an "
            f"axis {worst:.2f}): say which is right with the nifti loader's `geometry`"
        )


def _must_fit_pixdim(sform: np.ndarray, pixdim: np.ndarray) -> None:
    """Raise UnreadableVolume when usable voxel sizes differ from the sform's by more than 1 %."""
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    if (pixdim > 0).all() and not np.allclose(pixdim, spacing, rtol=0.01, atol=0):
        told, meant = (" x ".join(f"{n:g}" for n in sizes) for sizes in (pixdim, spacing))
        raise UnreadableVolume(
            f"the header's voxel size is {told} mm and its sform's {meant} mm (x, y, z): say "
            "`geometry: sform` for the nifti loader if the sform is right"
        )
