"""Synthetic chest CTs as `.nii.gz` files, for timing: anatomy-like shapes and correlated noise.

They hold no patient's data. What matters for timing is real: size, spacing, int16 storage, and how
well gzip packs them (about 2.2 times at level 6).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

SLOPE, INTERCEPT = 1.0, -1024.0
TARGET_MM = (0.75, 0.75, 1.5)
_LAYOUT = 1  # counts changes of what is drawn: an older file in the cache is then not used
_BODY, _FAT, _AIR, _LUNG = 45.0, -95.0, -1000.0, -860.0


@dataclass(frozen=True)
class Spec:
    """Size in voxels and spacing in mm, both in the order (x, y, z)."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def expected_zxy(self) -> tuple[int, int, int]:
        """Voxels (z, x, y) after resampling to `TARGET_MM`, give or take one."""
        x, y, z = (
            round(n * s / t) for n, s, t in zip(self.shape, self.spacing_mm, TARGET_MM, strict=True)
        )
        return z, x, y


SPECS = {
    spec.name: spec
    for spec in (
        Spec("A", (512, 512, 300), (0.7, 0.7, 1.0)),
        Spec("A600", (512, 512, 600), (0.7, 0.7, 1.0)),
        Spec("B", (1024, 1024, 400), (0.35, 0.35, 0.8)),
        Spec("tiny", (64, 64, 40), (0.7, 0.7, 1.0)),
    )
}


class Chest:
    """Axial planes of a chest that fills the field of view; coordinates run from -1 to 1."""

    def __init__(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.x = np.linspace(-1, 1, shape[0], dtype=np.float32)[None, :]
        self.y = np.linspace(-1, 1, shape[1], dtype=np.float32)[:, None]
        self.field = self.x**2 + self.y**2 <= 1
        self.body = self._ellipse(0, 0, 0.9, 0.62)
        self.vessels = rng.uniform(size=(300, 6))

    def plane(self, w: float) -> np.ndarray:
        """(y, x) float32 HU without noise, at height w from -1 (feet) to 1 (head)."""
        hu = np.full((self.y.size, self.x.size), _AIR, np.float32)
        hu[np.broadcast_to((self.y > 0.66) & (self.y < 0.69), hu.shape)] = -250  # the table
        hu[self.body] = _FAT
        hu[self._ellipse(0, 0, 0.85, 0.57)] = _BODY
        angle = np.cos(2 * np.pi * (11 * w + 2 * self.y))
        shell = self._ellipse(0, 0, 0.8, 0.54) & ~self._ellipse(0, 0, 0.75, 0.5)
        hu[shell & (angle > 0.4)] = 420  # ribs slope down from back to front
        self._lungs(hu, w)
        if (height := 1 - ((w + 0.25) / 0.5) ** 2) > 0:
            size = 0.27 * height**0.5
            hu[self._ellipse(0.1, -0.12, size, 0.85 * size)] = 50  # heart
        hu[self._ellipse(0.13, 0.22, 0.065, 0.065)] = 130  # aorta
        disc = abs(np.sin(14 * np.pi * w)) < 0.25
        hu[self._ellipse(0, 0.36, 0.12, 0.11)] = 90 if disc else 550
        if not disc:
            hu[self._ellipse(0, 0.36, 0.1, 0.09)] = 190  # marrow
        return hu

    def _lungs(self, hu: np.ndarray, w: float) -> None:
        height = 1 - (w / 0.92) ** 2
        if height <= 0:
            return
        lungs = np.zeros(hu.shape, bool)
        for side in (-1, 1):
            lungs |= self._ellipse(0.4 * side, 0, 0.31 * height**0.5, 0.46 * height**0.5)
        hu[lungs] = np.broadcast_to(_LUNG + 60 * self.y, hu.shape)[lungs]
        for x0, y0, wave, phase, size, tilt in self.vessels:
            x = (0.1 + 0.6 * x0) * (1 if wave > 0.5 else -1) + 0.1 * np.sin(
                9 * wave * w + 6 * phase
            )
            y = 0.9 * (y0 - 0.5) + 0.4 * (tilt - 0.5) * w
            self._disc(hu, lungs, x, y, 0.004 + 0.02 * size**3)

    def _disc(self, hu: np.ndarray, where: np.ndarray, x: float, y: float, radius: float) -> None:
        """A vessel cut across, drawn in the small window that it touches."""
        columns = slice(*np.searchsorted(self.x[0], [x - radius, x + radius]))
        rows = slice(*np.searchsorted(self.y[:, 0], [y - radius, y + radius]))
        inside = (self.x[:, columns] - x) ** 2 + (self.y[rows] - y) ** 2 <= radius**2
        hu[rows, columns][inside & where[rows, columns]] = 40

    def _ellipse(self, x: float, y: float, a: float, b: float) -> np.ndarray:
        return ((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2 < 1


def planes(spec: Spec, seed: int) -> Iterator[np.ndarray]:
    """(y, x) int16 stored values, HU + 1024, from feet to head; 0 outside the round field.

    White noise of 62 HU is mixed with the slice before (0.5), then image and noise are smoothed by
    (1, 2, 1) / 4 in plane: about 20 HU are left, and neighbours are alike, as after a soft kernel.
    """
    rng = np.random.default_rng(seed)
    chest = Chest(spec.shape, rng)
    shape = spec.shape[1], spec.shape[0]
    noise = rng.standard_normal(shape, np.float32)
    for w in np.linspace(-1, 1, spec.shape[2]):
        noise = np.float32(0.5) * noise + np.float32(0.75**0.5) * rng.standard_normal(
            shape, np.float32
        )
        hu = _smooth(chest.plane(float(w)) + np.float32(62) * noise)
        stored = np.clip(np.rint(hu - np.float32(INTERCEPT)), 0, 4095)
        stored[~chest.field] = 0
        yield stored.astype(np.int16)


def _smooth(plane: np.ndarray) -> np.ndarray:
    """(1, 2, 1) / 4 along both axes; the outermost pixels repeat."""
    for axis in (0, 1):
        padded = np.pad(plane, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        first, middle, last = (
            padded.take(range(start, start + plane.shape[axis]), axis) for start in (0, 1, 2)
        )
        plane = 0.25 * (first + last) + 0.5 * middle
    return plane


def made(name: str, folder: Path, seed: int = 0) -> Path:
    """The file of a volume, written on first use. The name has seed and layout in it."""
    spec = SPECS[name]
    path = folder / f"chest-{name}-seed{seed}-layout{_LAYOUT}.nii.gz"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
            out.write(_header(spec))
            for plane in planes(spec, seed):
                out.write(plane.tobytes())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def packing(path: Path, spec: Spec) -> float:
    """How many times smaller the file is than its voxels."""
    return float(2 * np.prod(spec.shape, dtype=np.int64) / path.stat().st_size)


def _header(spec: Spec) -> bytes:
    """352 bytes of a NIfTI-1 file in LPS order."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(spec.shape)
    header.set_xyzt_units("mm")
    x, y, z = spec.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    header.set_slope_inter(1, 0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    block: bytes = header.binaryblock + bytes(4)
    return block
