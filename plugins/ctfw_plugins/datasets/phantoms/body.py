"""A patient's body in numbers: sizes, shapes and densities that differ between people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ctfw_plugins.datasets.phantoms.canvas import Canvas, Point

LOBES = (
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
    "left upper lobe",
    "left lower lobe",
)


@dataclass(frozen=True, slots=True)
class Body:
    """Millimetres in LPS around the middle of the chest (x left, y back, z head), and HU.

    half_x, half_y   half-axes of the chest cavity at its widest
    apex, base       z of the lungs' tops and of the bottom of the recesses
    domes            z of the right and the left diaphragm dome
    heart, heart_mm  centre and half-axes of the heart
    """

    half_x: float
    half_y: float
    apex: float
    base: float
    domes: tuple[float, float]
    waist: float
    fat_mm: float
    muscle_mm: float
    heart: Point
    heart_mm: Point
    aorta_mm: float
    kyphosis: float
    lung_hu: float
    blood_hu: float
    bone_hu: float
    shift: tuple[float, float] = (0.0, 0.0)
    noise_hu: float = 12.0

    def lobe(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Index into LOBES of points in the lungs; the fissures are planes."""
        up = (z - self.base) / (self.apex - self.base)
        lower = up < 0.50 + 0.30 * y / self.half_y
        right = np.where(lower, 2, np.where(up < 0.48, 1, 0))
        return np.where(x < 0, right, np.where(lower, 4, 3))


def draw_body(rng: np.random.Generator) -> Body:
    """A patient: adults of varied size."""
    size = rng.normal(1.0, 0.05)
    half_x = float(np.clip(116 * size * rng.normal(1, 0.02), 100, 128))
    half_y = float(np.clip(80 * size * rng.normal(1, 0.03), 66, 90))
    tall = float(np.clip(rng.normal(1, 0.05), 0.9, 1.1))
    heart = float(np.clip(rng.normal(1, 0.04), 0.92, 1.08))
    return Body(
        half_x=half_x,
        half_y=half_y,
        apex=118 * tall,
        base=-118 * tall,
        domes=(-58 * tall, -68 * tall),
        waist=float(rng.uniform(24, 30)),
        fat_mm=float(rng.uniform(6, 15)),
        muscle_mm=float(rng.uniform(12, 17)),
        heart=(18 * size, -24 * size, -38 * tall),
        heart_mm=(46 * size * heart, 37 * size * heart, 44 * tall * heart),
        aorta_mm=float(rng.uniform(11.5, 14)),
        kyphosis=float(rng.uniform(0, 10)),
        lung_hu=float(rng.normal(-835, 18)),
        blood_hu=float(rng.normal(44, 4)),
        bone_hu=float(rng.uniform(330, 560)),
    )


def draw_study(body: Body, rng: np.random.Generator) -> Body:
    """The same patient on another day: position on the table, depth of the breath, noise."""
    breath = rng.normal(0, 4)
    return replace(
        body,
        domes=(body.domes[0] + breath, body.domes[1] + breath),
        shift=(float(rng.uniform(-6, 6)), float(rng.uniform(-4, 4))),
        lung_hu=body.lung_hu + breath,
        noise_hu=float(rng.uniform(9, 16)),
    )


def canvas_for(body: Body, spacing: float) -> Canvas:
    """An empty grid over the whole chest: 330 x 252 mm, from below the domes to above the apices.

    The patient's shift on the table moves the origin, so that the anatomy keeps its coordinates.
    """
    nx, ny = round(330 / spacing), round(252 / spacing)
    bottom, top = body.base - 12, body.apex + 15
    nz = round((top - bottom) / spacing)
    origin = (
        -spacing * (nx - 1) / 2 + body.shift[0],
        -spacing * (ny - 1) / 2 + 12 + body.shift[1],
        bottom,
    )
    return Canvas(origin, spacing, (nz, ny, nx))


def find_place(
    canvas: Canvas,
    body: Body,
    rng: np.random.Generator,
    lobe: int,
    reach: float,
    z_range: tuple[float, float] = (0.0, 1.0),
) -> Point:
    """A point of a lobe with lung for `reach` mm around it, as far as there is one.

    `z_range` limits the height, 0 at the base and 1 at the apex.
    """
    n = 192
    sign = -1 if lobe < 3 else 1
    height = body.apex - body.base
    x = sign * rng.uniform(25, body.half_x, n)
    y = rng.uniform(-body.half_y, body.half_y, n)
    z = body.base + height * rng.uniform(*z_range, n)
    around = reach * np.array(
        [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    )
    points = np.stack([x, y, z], -1)[:, None] + around[None]
    index = np.rint((points - canvas.origin) / canvas.spacing).astype(int)
    limit = np.array(canvas.shape[::-1]) - 1
    inside = ((index >= 0) & (index <= limit)).all(-1)
    i, j, k = np.moveaxis(np.clip(index, 0, limit), -1, 0)
    air = (canvas.lung[k, j, i] * inside).astype(np.float64)
    score = air.sum(1) + 4 * air[:, 0] + 6 * (body.lobe(x, y, z) == lobe)
    best = int(np.argmax(score >= score.max() - 0.3))
    return float(x[best]), float(y[best]), float(z[best])
