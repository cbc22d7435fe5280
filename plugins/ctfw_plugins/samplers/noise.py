"""Noise in the place of a scan; pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctfw.types import HU, Volume

NAMES = {"white": "Gaussian", "matched": "spectrum-matched"}


@dataclass(frozen=True)
class Noise:
    """Replaces `strength` of a normalised volume by noise; picklable, the same for one seed.

    spectrum "white"    Gaussian with `mean` and `std`
    spectrum "matched"  see `phase_randomised`
    """

    seed: int
    strength: float = 1.0
    mean: float = 0.0
    std: float = 0.5
    spectrum: str = "white"

    def __call__(self, volume: Volume) -> Volume:
        """A volume of the same shape, affine and positions, clipped to [-1, 1]; to [-1000, 1000]
        where it is in HU, with `mean` and `std` in thousands of HU."""
        unit = 1000.0 if volume.intensity == HU else 1.0
        source = np.asarray(volume.array, np.float32) / np.float32(unit)
        rng = np.random.default_rng(self.seed)
        white = rng.standard_normal(source.shape, dtype=np.float32)
        if self.spectrum == "matched":
            noise = phase_randomised(source, white)
        else:
            noise = white * np.float32(self.std) + np.float32(self.mean)
        mixed = (1 - self.strength) * source + self.strength * noise
        limited = np.clip(mixed, -1.0, 1.0) * np.float32(unit)
        return volume.but(array=limited.astype(np.float32)).noting(
            "gauss", f"{self.strength:.0%} {NAMES[self.spectrum]} noise: a negative, not a scan"
        )


def phase_randomised(source: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Noise with the power spectrum and the mean of `source`, and the phases of `white`.

    Each Fourier coefficient of `white` is scaled to the modulus of the one of `source`, so that
    coarse structures are as strong as in the scan but lie nowhere in particular. A surrogate in
    the sense of Theiler et al. 1992 (Physica D 58, 77-94), in three dimensions.
    """
    wanted, random = np.fft.rfftn(source), np.fft.rfftn(white)
    spectrum = np.abs(wanted) * random / np.maximum(np.abs(random), 1e-12)
    spectrum.flat[0] = wanted.flat[0]
    axes = tuple(range(source.ndim))
    return np.fft.irfftn(spectrum, s=source.shape, axes=axes).astype(np.float32)
