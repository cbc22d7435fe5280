"""The fields of a NIfTI header, as https://nifti.nimh.nih.gov defines them.

Parsed here and not by nibabel, whose import costs every worker 14 MB of memory (27 MB where pydicom
is installed) and 0.2 s: a third of what a worker takes. The tests hold both parsers equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Order = Literal["<", ">"]
LENGTHS = {348: 1, 540: 2}
_FIELDS: dict[int, list[tuple[str, str, int]]] = {
    1: [
        ("dim", "8i2", 40), ("datatype", "i2", 70), ("pixdim", "8f4", 76),
        ("vox_offset", "f4", 108), ("scl_slope", "f4", 112), ("scl_inter", "f4", 116),
        ("xyzt_units", "u1", 123), ("qform_code", "i2", 252), ("sform_code", "i2", 254),
        ("quatern", "3f4", 256), ("qoffset", "3f4", 268), ("srow", "(3,4)f4", 280),
        ("magic", "S4", 344),
    ],
    2: [
        ("magic", "S8", 4), ("datatype", "i2", 12), ("dim", "8i8", 16), ("pixdim", "8f8", 104),
        ("vox_offset", "i8", 168), ("scl_slope", "f8", 176), ("scl_inter", "f8", 184),
        ("qform_code", "i4", 344), ("sform_code", "i4", 348), ("quatern", "3f8", 352),
        ("qoffset", "3f8", 376), ("srow", "(3,4)f8", 400), ("xyzt_units", "i4", 500),
    ],
}  # fmt: skip
_NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
_OTHERS = {
    1: "single bits", 32: "complex numbers", 128: "a colour picture", 1536: "128-bit floats",
    1792: "complex numbers", 2048: "complex numbers", 2304: "a colour picture",
}  # fmt: skip
_TO_MM = {1: 1000.0, 3: 0.001}  # NIFTI_UNITS_METER, _MICRON; anything else is taken for mm
_SPACE_UNITS = 0x07


class InvalidQform(ValueError):
    """Quaternion or voxel sizes that no rotation can be made of."""


@dataclass(frozen=True)
class NiftiFields:
    """One header, in the byte order that makes its first number its length.

    size   348 or 540 bytes
    order  "<" or ">"
    """

    size: int
    order: Order
    values: Any

    @classmethod
    def length(cls, start: bytes) -> tuple[int, Order] | None:
        """(size, byte order) by the first four bytes; None when they are of no NIfTI header."""
        little, big = int.from_bytes(start, "little"), int.from_bytes(start, "big")
        if little in LENGTHS:
            return little, "<"
        return (big, ">") if big in LENGTHS else None

    @classmethod
    def of(cls, block: bytes, order: Order) -> NiftiFields:
        """The fields of 348 or 540 bytes."""
        fields = _FIELDS[LENGTHS[len(block)]]
        facts: Any = {
            "names": [name for name, _, _ in fields],
            "formats": [np.dtype(kind).newbyteorder(order) for _, kind, _ in fields],
            "offsets": [offset for _, _, offset in fields],
            "itemsize": len(block),
        }
        layout = np.dtype(facts)
        return cls(len(block), order, np.frombuffer(block, layout)[0])

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of the stored voxels; None for one that cannot be HU (see `kind`)."""
        code = _NUMBERS.get(int(self["datatype"]))
        return None if code is None else np.dtype(code).newbyteorder(self.order)

    @property
    def kind(self) -> str:
        """What voxels without a `dtype` are, in words; empty for an unknown code."""
        return _OTHERS.get(int(self["datatype"]), "")

    @property
    def to_mm(self) -> float:
        """What one unit of length is in millimetres."""
        return _TO_MM.get(int(self["xyzt_units"]) & _SPACE_UNITS, 1.0)

    @property
    def pixdim(self) -> np.ndarray:
        """(3,) voxel size along x, y, z, in the header's unit."""
        return np.asarray(self["pixdim"][1:4], float)

    def sform(self) -> np.ndarray:
        """4x4 voxel (x, y, z) -> RAS+, in the header's unit."""
        return _affine(np.asarray(self["srow"], float)[:, :3], np.asarray(self["srow"])[:, 3])

    def qform(self) -> np.ndarray:
        """The same from the quaternion (method 2 of nifti1.h). Raises InvalidQform."""
        b, c, d = (float(part) for part in self["quatern"])
        # The first part follows from the others; rounding may leave it a little below 0.
        rest = 1 - (b * b + c * c + d * d)
        if not rest >= -3 * np.finfo(self["quatern"].dtype).eps:
            raise InvalidQform(f"its quaternion ({b:g}, {c:g}, {d:g}) is longer than 1")
        a = np.sqrt(max(rest, 0.0))
        size, flip = self.pixdim, float(self["pixdim"][0])
        if not (size >= 0).all() or flip not in (-1, 1):
            told = " x ".join(f"{step:g}" for step in size)
            raise InvalidQform(f"its voxel size is {told} and its handedness {flip:g}, not 1 or -1")
        length = a * a + b * b + c * c + d * d
        s = 2 / length if length > 0 else 0.0
        turn = np.eye(3) - s * np.array(
            [
                [c * c + d * d, a * d - b * c, -a * c - b * d],
                [-a * d - b * c, b * b + d * d, a * b - c * d],
                [a * c - b * d, -a * b - c * d, b * b + c * c],
            ]
        )
        return _affine(turn * size * [1, 1, flip], self["qoffset"])

    def by_size(self, shape: tuple[int, ...]) -> np.ndarray:
        """The same from voxel sizes alone (method 1): centre at 0, x to the patient's right.

        As nibabel and the Analyze format before it, x is flipped.
        """
        steps = self.pixdim * [-1, 1, 1]
        return _affine(np.diag(steps), -(np.array(shape) - 1) / 2 * steps)


def _affine(matrix: np.ndarray, origin: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, origin
    return affine
