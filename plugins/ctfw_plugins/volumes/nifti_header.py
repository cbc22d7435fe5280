"""The header of a NIfTI file: what is stored, how many voxels, and where they lie.

nibabel parses it; everything it says is bounded and compared before it is believed.
"""

from __future__ import annotations

import math
from typing import IO, Any

import nibabel as nib
import numpy as np

from ctfw.errors import NotCT, UnreadableVolume

_MAX_DIM = 4096
_MAX_DEFLATE = 1032  # no deflate stream expands further
_TO_MM = dict.fromkeys(range(8), 1.0) | {1: 1000.0, 3: 0.001}  # NIFTI_UNITS_METER, _MICRON
_SPACE_UNITS = 0x07


def read_header(stream: IO[bytes]) -> Any:
    """Parse and bound the header; the stream stands behind it. Raises UnreadableVolume, NotCT."""
    start = stream.read(4)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    kind = nib.Nifti2Header if 540 in sizes else nib.Nifti1Header
    length = 540 if 540 in sizes else 348
    if length not in sizes:
        raise UnreadableVolume("not a NIfTI file: its first bytes are not those of a header")
    block = start + stream.read(length - 4)
    if len(block) < length:
        raise EOFError
    try:
        header = kind(block, check=False)
        magic = bytes(header["magic"].tobytes())[:3]
        dtype = header.get_data_dtype()
    except Exception as error:
        raise UnreadableVolume(f"the NIfTI header cannot be parsed: {error}") from error
    if magic not in (b"n+1", b"n+2"):
        raise UnreadableVolume(
            "the voxels are not in this file (a header with a separate .img, or no NIfTI): convert "
            "it to a single .nii.gz"
        )
    if dtype.names or dtype.kind == "c":
        kind_of = "a colour picture" if dtype.names else "complex numbers"
        raise NotCT(f"the voxels are {kind_of} ({dtype}), not HU: give the CT itself")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnreadableVolume(f"voxels of type {dtype} cannot be read")
    return header


def shape_of(header: Any) -> tuple[int, int, int]:
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


def must_fit_file(header: Any, shape: tuple[int, int, int], file_size: int, packed: bool) -> None:
    """Raise UnreadableVolume, before memory is taken, for more voxels than the file can hold."""
    wanted = math.prod(shape) * header.get_data_dtype().itemsize
    if wanted > file_size * (_MAX_DEFLATE if packed else 1):
        raise UnreadableVolume(
            f"the header promises {wanted / 1e6:.1f} MB of voxels, more than the file can hold"
        )
    voxels_at(header)


def voxels_at(header: Any) -> int:
    """The byte where the voxels begin. Raises UnreadableVolume for a place that cannot be."""
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset - header.sizeof_hdr <= 1 << 26:
        raise UnreadableVolume(f"the voxels are said to start at byte {offset:g}, which cannot be")
    return int(offset)


def scaling_of(header: Any) -> tuple[float, float]:
    """(slope, intercept); (1, 0) where the slope is 0, NaN or infinite, as the format says."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise UnreadableVolume(f"the header has slope {slope:g} but intercept {intercept:g}")
    return slope, intercept


def affine_of(header: Any, shape: tuple[int, ...], wish: str) -> tuple[np.ndarray, str]:
    """(4x4 in mm, "sform" | "qform" | "pixdim alone")."""
    factor = _TO_MM[int(header["xyzt_units"]) & _SPACE_UNITS]
    to_mm = np.diag([factor] * 3 + [1.0])
    found: dict[str, np.ndarray] = {}
    if int(header["sform_code"]) > 0:
        found["sform"] = to_mm @ header.get_sform()
    if int(header["qform_code"]) > 0:
        found["qform"] = _qform(header, to_mm, only="sform" not in found or wish == "qform")
    found = {name: affine for name, affine in found.items() if affine is not None}
    if wish != "auto":
        if wish not in found:
            raise UnreadableVolume(f"`geometry: {wish}` is asked for, and the file has none")
        return found[wish], wish
    if len(found) == 2:
        _must_agree(found["sform"], found["qform"], shape)
    elif "sform" in found:
        _must_fit_pixdim(found["sform"], to_mm[0, 0] * header["pixdim"][1:4].astype(float))
    for name in ("sform", "qform"):
        if name in found:
            return found[name], name
    pixdim = to_mm @ header.get_base_affine()
    return pixdim, "pixdim alone (the file records no orientation)"


def _qform(header: Any, to_mm: np.ndarray, only: bool) -> Any:
    """The qform in mm; None when it is invalid and the file has a better transform."""
    if not only and not (header["pixdim"][1:4] > 0).all():
        return None
    try:
        qform = to_mm @ header.get_qform()
    except Exception as error:
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
