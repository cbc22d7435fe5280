"""Focal findings of the lungs and the pleura: how each is planted.

Every painter takes (canvas, body, label, rng), changes the HU where the finding lies, and notes
each lesion. "Difficulty" says how hard the finding is to see in ten slices of 3-4 mm pixels.
"""

from __future__ import annotations

import numpy as np

from ctfw_plugins.datasets.phantoms.body import LOBES, Body, find_place
from ctfw_plugins.datasets.phantoms.canvas import Canvas, Point, line

NODULE_SIZES = (14, 16, 18, 20, 22, 25, 28, 30)


def pleural_effusion(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Fluid behind one or both lungs: a crescent, deepest at the base, over many slices.

    Difficulty: easy. It fills the back of the lung in half of the slices.
    """
    sides = ((-1,), (1,), (-1, 1))[int(rng.integers(3))]
    depth = float(rng.uniform(30, 55))
    top = float(rng.uniform(0.45, 0.75))
    for sign in sides:
        low, high = sorted((0.0, sign * (body.half_x + 2)))
        box = canvas.box((low, -body.half_y, body.base), (high, body.half_y, body.apex))
        x, y, z = canvas.axes(box)
        up = (z - body.base) / (body.apex - body.base)
        deep = depth * np.clip(1 - up / top, 0, 1) ** 0.6
        lung = canvas.lung[box]
        rise = 20 * ((np.abs(x) - 0.5 * body.half_x) / (0.5 * body.half_x)) ** 2  # meniscus
        front = 0.96 * body.half_y - 1.25 * deep - rise * (deep > 0)
        cover = (lung > 0) * canvas.soft(y - front)
        canvas.plant(label, box, cover, 8, round(depth), "right" if sign < 0 else "left")
        canvas.lung[box] = lung * (1 - cover)


def consolidation(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """One or two dense patches of 50-80 mm with air bronchograms.

    Difficulty: easy. Dense, large, two or three slices each.
    """
    for _ in range(int(rng.integers(1, 3))):
        lobe = int(rng.choice([0, 2, 2, 3, 4, 4]))
        reach = float(rng.uniform(26, 38))
        centre = find_place(canvas, body, rng, lobe, 0.6 * reach)
        radii = (0.95 * reach, 0.9 * reach, reach)
        box, cover = _rough(canvas, centre, radii, rng, 0.25)
        cover = cover * canvas.lung[box]
        canvas.plant(label, box, cover, 25, round(2 * reach), LOBES[lobe])
        for _ in range(4):
            start, stop = (
                np.add(centre, rng.uniform(-0.55, 0.55, 3) * reach * np.array([1, 1, 1.2]))
                for _ in range(2)
            )
            pipe = line(tuple(start), tuple(stop), step=canvas.spacing)
            spot, air = canvas.tube(pipe, 2.4)
            canvas.paint(spot, air * (canvas.hu[spot] > -200), -850)


def lung_opacity(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Two to four ground-glass patches of 50-90 mm: denser than lung, vessels still visible.

    Difficulty: medium. Large, but of low contrast (about 330 HU).
    """
    lobes = rng.permutation(5)[: int(rng.integers(1, 4))]
    for index in range(max(2, len(lobes))):
        lobe = int(lobes[index % len(lobes)])
        reach = float(rng.uniform(26, 44))
        centre = find_place(canvas, body, rng, lobe, 0.6 * reach)
        box, cover = _rough(canvas, centre, (reach, reach, reach), rng, 0.35)
        cover = cover * canvas.lung[box]
        gain = float(rng.uniform(310, 380))
        dense = np.minimum(canvas.hu[box] + gain, np.maximum(canvas.hu[box], -250))
        canvas.plant(label, box, cover, dense, round(2 * reach), LOBES[lobe])


def lung_nodule(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Eight to twelve solid nodules of 8-30 mm; the report gives the largest.

    Difficulty: medium to hard. Bright and sharp, but a small one lies between two slices.
    """
    largest = float(rng.choice(NODULE_SIZES))
    for index in range(int(rng.integers(8, 13))):
        size = largest if index == 0 else max(8.0, largest * float(rng.uniform(0.6, 0.9)))
        lobe = (int(rng.integers(5)) + index) % 5
        centre = find_place(canvas, body, rng, lobe, 0.5 * size + 5)
        stretch = rng.uniform(0.92, 1.08, 3) * size / 2
        box, cover = canvas.ellipsoid(centre, (stretch[0], stretch[1], stretch[2]))
        canvas.plant(label, box, cover * (canvas.lung[box] > 0.02), 90, size, LOBES[lobe])


def atelectasis(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Plates of collapsed lung at the bases, upright enough to cross several slices.

    Difficulty: medium. Dense straight bands of 7-9 mm that reach the pleura.
    """
    for sign in ((-1,), (1,), (-1, 1))[int(rng.integers(3))]:
        lobe = 2 if sign < 0 else 4
        for _ in range(3):
            turn = float(rng.uniform(-0.5, 0.5))
            x0, y0 = (
                sign * rng.uniform(0.35, 0.7) * body.half_x,
                rng.uniform(0.3, 0.6) * body.half_y,
            )
            z0 = body.base + rng.uniform(30, 75)
            half: Point = (34, 44, 34)
            box = canvas.box(
                (x0 - half[0], y0 - half[1], z0 - half[2]),
                (x0 + half[0], y0 + half[1], z0 + half[2]),
            )
            x, y, z = canvas.axes(box)
            across = (x - x0) * np.cos(turn) + (y - y0) * np.sin(turn) + 0.15 * (z - z0)
            along = -(x - x0) * np.sin(turn) + (y - y0) * np.cos(turn)
            cover = canvas.soft(float(rng.uniform(3.4, 4.6)) - np.abs(across))
            cover = cover * canvas.soft(36 - np.abs(along)) * canvas.soft(32 - np.abs(z - z0))
            canvas.plant(label, box, cover * canvas.lung[box], 20, 70, LOBES[lobe])


def fibrotic_sequela(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Scars of the apices: bands that run to the pleura, and a thickened pleural cap.

    Difficulty: medium. Dense bands of 5-6 mm, in the top two or three slices.
    """
    top = body.base + 0.86 * (body.apex - body.base)
    for sign in ((-1, 1), (-1,), (1,))[int(rng.integers(3))]:
        place = "right apex" if sign < 0 else "left apex"
        x0 = sign * 0.44 * body.half_x
        points = []
        for turn in np.linspace(0.3, 5.4, 5) + rng.normal(0, 0.2):
            out = (
                x0 + 48 * np.cos(turn),
                46 * np.sin(turn),
                top + float(rng.uniform(-6, 8)),
            )
            near = (x0 + rng.normal(0, 5), rng.normal(0, 6), top - 26.0)
            sheet = line(near, out, step=canvas.spacing)
            points += [
                sheet + np.array([0, 0, dz], np.float32)
                for dz in np.arange(-24, 25, canvas.spacing)
            ]
        box, cover = canvas.tube(np.concatenate(points), 2.7)
        canvas.plant(label, box, cover * canvas.lung[box], 10, 45, place)


def _rough(
    canvas: Canvas,
    centre: Point,
    radii: Point,
    rng: np.random.Generator,
    softness: float,
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """An ellipsoid with an uneven outline that fades over `softness` of its radius."""
    reach = (1.35 * radii[0], 1.35 * radii[1], 1.35 * radii[2])
    low = (centre[0] - reach[0], centre[1] - reach[1], centre[2] - reach[2])
    high = (centre[0] + reach[0], centre[1] + reach[1], centre[2] + reach[2])
    box = canvas.box(low, high)
    x, y, z = canvas.axes(box)
    u, v, w = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1], (z - centre[2]) / radii[2]
    phase = rng.uniform(0, 2 * np.pi, 3)
    wave = 0.16 * (np.sin(4 * u + phase[0]) + np.sin(4 * v + phase[1]) + np.sin(4 * w + phase[2]))
    distance = 1 - np.sqrt((u**2 + v**2)[None] + w**2) + wave
    return box, np.clip(distance / softness + 0.5, 0, 1).astype(np.float32)
