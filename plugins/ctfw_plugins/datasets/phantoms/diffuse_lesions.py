"""Findings that spread through the lungs and the airways: how each is planted.

Every painter takes (canvas, body, label, rng), changes the HU where the finding lies, and notes
each lesion. "Difficulty" says how hard the finding is to see in ten slices of 3-4 mm pixels.
"""

from __future__ import annotations

import numpy as np

from ctfw_plugins.datasets.phantoms.anatomy import bronchi, hilum
from ctfw_plugins.datasets.phantoms.body import LOBES, Body, find_place
from ctfw_plugins.datasets.phantoms.canvas import Box, Canvas, Point, bend, line


def mosaic_attenuation(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """A patchwork of dark and light lobules of about 28 mm over both lungs.

    Difficulty: medium. Everywhere in the lungs; 270 HU between neighbours.
    """
    box = _both_lungs(canvas, body)
    x, y, z = canvas.axes(box)
    cell = 28.0
    tilt = rng.uniform(-0.15, 0.15, 2)
    i = np.floor((x + tilt[0] * y + 300) / cell).astype(int)  # (y, x)
    j = np.floor((y + tilt[1] * x + 300) / cell).astype(int)
    k = np.floor((z[:, 0, 0] + 300) / 36.0).astype(int)
    pattern = ((np.arange(24)[:, None] + np.arange(24)[None]) % 2).astype(bool)
    pattern = pattern[None] ^ (rng.random((24, 24, 24)) < 0.12)
    pattern[1::2] ^= True
    light = pattern[k][:, j, i]
    lung = canvas.lung[box]
    canvas.hu[box] += lung * np.where(light, np.float32(170), np.float32(-100))
    canvas.mark(label, box, lung > 0.4, 28, "both lungs")


def septal_thickening(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Thick interlobular septa: a bright net with meshes of about 20 mm in both lower zones.

    Difficulty: medium. Lines of one pixel, but a regular net over most slices.
    """
    box = _both_lungs(canvas, body)
    x, y, z = canvas.axes(box)
    phase = rng.uniform(0, 2 * np.pi, 4)
    warp = 4 * np.sin(y / 17 + phase[0]) + 3 * np.sin(x / 23 + phase[1])
    mesh = 21.0
    first = np.abs((x + 0.5 * y + warp + phase[2] * 3) % mesh - mesh / 2)  # (y, x)
    second = np.abs((y - 0.5 * x + warp + phase[3] * 3) % mesh - mesh / 2)
    net = canvas.soft(2.2 - np.minimum(first, second))
    up = (z - body.base) / (body.apex - body.base)
    cover = net[None] * (canvas.lung[box] * np.clip((0.72 - up) / 0.06, 0, 1))
    canvas.plant(label, box, cover, -150, 21, "both lungs")


def emphysema(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Holes of 20-44 mm without vessels, many with a thin wall (bullae), mostly upper lobes.

    Difficulty: hard. Dark on dark: 150 HU below lung; the walls of the bullae help.
    """
    sides = ((0, 3), (0, 3), (0,), (3,))[int(rng.integers(4))]
    for index in range(9 * len(sides) if len(sides) > 1 else 12):
        lobe = sides[index % len(sides)]
        size = float(rng.uniform(11, 21))
        centre = find_place(canvas, body, rng, lobe, 0.7 * size, (0.42, 0.96))
        wall, cover = canvas.ellipsoid(centre, (size + 2.2, size + 2.2, 1.25 * size + 2.2))
        canvas.paint(wall, cover * canvas.lung[wall] * 0.8, -560)
        box, cover = canvas.ellipsoid(centre, (size, size, 1.25 * size))
        canvas.plant(label, box, cover * canvas.lung[box], -992, 2 * round(size), LOBES[lobe])


def peribronchial_thickening(
    canvas: Canvas, body: Body, label: int, rng: np.random.Generator
) -> None:
    """Thick walls of the lobar and segmental bronchi of both lungs: rings and tram tracks.

    Difficulty: medium. Bright cuffs around the hila over many slices.
    """
    for sign in (-1, 1):
        pipes = [points for points, _ in bronchi(body, sign, canvas.spacing)[1:]]
        gate = hilum(body, sign)
        for end in _ends(body, sign, rng):
            middle = (
                float((gate[0] + end[0]) / 2 + rng.normal(0, 6)),
                float((gate[1] + end[1]) / 2),
                float((gate[2] + end[2]) / 2),
            )
            pipes.append(bend(gate, middle, end, canvas.spacing))
        points = np.concatenate(pipes)
        box, cover = canvas.tube(points, 6.4)
        canvas.plant(label, box, cover * canvas.lung[box], 30, 60, "both lungs")
        box, cover = canvas.tube(points, 2.3)
        canvas.paint(box, cover * (canvas.lung[box] > 0.3), -900)


def bronchiectasis(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Clusters of widened airways of 11-16 mm with bright walls, mostly in the lower lobes.

    Difficulty: medium. Ringed holes in groups, upright, so that several slices cut them.
    """
    lobes = ((2,), (4,), (2, 4), (2, 4))[int(rng.integers(4))]
    for lobe in lobes:
        sign = -1 if lobe < 3 else 1
        centre = find_place(canvas, body, rng, lobe, 20, (0.15, 0.45))
        wide = float(rng.uniform(5.5, 8.0))
        tubes = []
        for index in range(7):
            turn = index * np.pi / 3
            away = 0 if index == 6 else 2.75 * wide
            low: Point = (
                centre[0] + away * np.cos(turn) + sign * 6,
                centre[1] + away * np.sin(turn) + 5,
                centre[2] - 38,
            )
            high: Point = (
                centre[0] + 0.85 * away * np.cos(turn),
                centre[1] + 0.85 * away * np.sin(turn),
                centre[2] + 42,
            )
            tubes.append(line(low, high, step=canvas.spacing))
        points = np.concatenate(tubes)
        box, cover = canvas.tube(points, wide + 3.2)
        canvas.plant(label, box, cover * canvas.lung[box], 40, 2 * round(wide), LOBES[lobe])
        inside, lumen = canvas.tube(points, wide)
        canvas.paint(inside, lumen * (canvas.lung[inside] > 0.3), -990)


def _both_lungs(canvas: Canvas, body: Body) -> Box:
    """The box around both lungs."""
    low: Point = (-body.half_x, -body.half_y, body.base)
    return canvas.box(low, (body.half_x, body.half_y, body.apex))


def _ends(body: Body, sign: int, rng: np.random.Generator) -> list[Point]:
    """Where six segmental bronchi end."""
    far, height = sign * body.half_x, body.apex - body.base
    return [
        (
            float(far * rng.uniform(0.5, 0.72)),
            float(y + rng.normal(0, 5)),
            float(body.base + up * height),
        )
        for y, up in ((-30, 0.7), (20, 0.75), (-40, 0.45), (40, 0.5), (-15, 0.32), (38, 0.3))
    ]
