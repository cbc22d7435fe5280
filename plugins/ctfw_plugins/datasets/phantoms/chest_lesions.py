"""Findings of the heart, the vessels, the mediastinum and devices: how each is planted.

Every painter takes (canvas, body, label, rng), changes the HU where the finding lies, and notes
each lesion. "Difficulty" says how hard the finding is to see in ten slices of 3-4 mm pixels.
"""

from __future__ import annotations

import numpy as np

from ctfw_plugins.datasets.phantoms.anatomy import aorta_line
from ctfw_plugins.datasets.phantoms.body import Body
from ctfw_plugins.datasets.phantoms.canvas import Canvas, Point, line

METAL, CALCIUM, FLUID, NODE = 2600.0, 900.0, 6.0, 50.0


def medical_material(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Sternal wires, a port with its catheter, or a pacemaker with its leads.

    Difficulty: easy. Metal is the brightest thing in the scan; box and leads cross many slices.
    """
    kind = ("sternotomy", "port", "pacemaker")[int(rng.integers(3))]
    front = -body.half_y - 6
    step = canvas.spacing
    if kind == "sternotomy":
        for z in np.arange(-36, 62, 19.0):
            loop = line((-6, front, z), (-6, front - 3, z + 11), step=step)
            loop = np.concatenate([loop, loop + np.array([12, 0, 0], np.float32)])
            canvas.plant(label, *canvas.tube(loop, 3.0), METAL, 14, kind)
        return
    sign = -1 if kind == "port" else 1
    pocket: Point = (sign * 0.55 * body.half_x, -0.84 * body.half_y - 15, 48)
    box, cover = canvas.ellipsoid(pocket, (17, 9, 20))
    canvas.plant(label, box, cover, METAL, 34, kind)
    if kind == "port":
        corners = [pocket, (-30, -38, 82), (-22, -16, 68), (-22, -20, 5)]
    else:
        corners = [pocket, (26, -34, 80), (-18, -16, 72), (-22, -20, 0), (18, -36, -52)]
    canvas.plant(label, *canvas.tube(line(*corners, step=step), 2.8), METAL, 120, kind)


def arterial_calcification(
    canvas: Canvas, body: Body, label: int, rng: np.random.Generator
) -> None:
    """Calcified plaques: bright arcs of the wall of the arch and the descending aorta.

    Difficulty: medium. Bright (900 HU) and long, but only one pixel thick.
    """
    centre = aorta_line(body, canvas.spacing)
    tangent = np.gradient(centre, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    first = np.cross(tangent, np.array([1, 0, 0], np.float32))
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-6)
    second = np.cross(tangent, first)
    n = len(centre)
    along = np.arange(n) / n
    for start in np.arange(0.2, 0.92, 0.12):
        here = np.flatnonzero((along >= start) & (along < start + 0.085))
        turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(1.3, 2.4), 9)
        ring = np.cos(turn)[None, :, None] * first[here][:, None]
        ring = ring + np.sin(turn)[None, :, None] * second[here][:, None]
        points = (centre[here][:, None] + body.aorta_mm * ring).reshape(-1, 3)
        canvas.plant(label, *canvas.tube(points, 2.3), CALCIUM, 25, "aorta")


def coronary_calcification(
    canvas: Canvas, body: Body, label: int, rng: np.random.Generator
) -> None:
    """Calcified plaques: bright short tracks on the front of the heart, top to bottom.

    Difficulty: medium. Two or three bright pixels in each slice through the heart.
    """
    centre, radii = np.array(body.heart), np.array(body.heart_mm)
    for turn, drift in ((-0.35, 0.5), (0.45, 0.35), (-1.15, -0.35)):
        height = np.linspace(0.85, -0.6, 48)
        angle = turn + drift * (0.85 - height) + rng.normal(0, 0.05)
        rim = np.sqrt(1 - height**2)
        track = np.stack([rim * np.sin(angle), -rim * np.cos(angle), height], -1)
        points = (centre + 0.88 * radii * track).astype(np.float32)
        keep = np.sin(np.arange(48) * 0.75 + rng.uniform(0, 6)) > -0.55
        canvas.plant(label, *canvas.tube(points[keep], 2.9), CALCIUM, 40, "coronary arteries")


def mark_heart(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Cardiomegaly: the anatomy was painted with a heart about 1.35 times as wide.

    Difficulty: medium. Large, but the sign is a size, not a density.
    """
    box, cover = canvas.ellipsoid(body.heart, body.heart_mm)
    cover = cover * (canvas.hu[box] > -300)
    canvas.mark(label, box, cover > 0.5, 2 * body.heart_mm[0], "heart")


def pericardial_effusion(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """A shell of fluid around the heart, kept apart from it by a line of epicardial fat.

    Difficulty: medium. 40 HU darker than the heart; the dark line of fat shows it.
    """
    thick = float(rng.uniform(13, 20))
    grown = (
        body.heart_mm[0] + thick,
        body.heart_mm[1] + thick,
        body.heart_mm[2] + 0.6 * thick,
    )
    outer, cover = canvas.ellipsoid(body.heart, grown)
    x, y, z = canvas.axes(outer)
    floor = canvas.soft(z - (body.heart[2] - 0.8 * body.heart_mm[2]) + 4)
    keep = floor * canvas.soft(body.half_y - 2 - np.abs(y)) * canvas.soft(34 - y)
    inner = np.sqrt(
        ((x - body.heart[0]) / body.heart_mm[0]) ** 2
        + ((y - body.heart[1]) / body.heart_mm[1]) ** 2
        + ((z - body.heart[2]) / body.heart_mm[2]) ** 2
    )
    edge = (inner - 1) * min(body.heart_mm)  # about the distance to the heart's surface, mm
    shell = cover * keep * canvas.soft(edge)
    canvas.plant(label, outer, shell, FLUID, round(thick), "pericardium")
    canvas.paint(outer, cover * keep * canvas.soft(3 - np.abs(edge - 1)), -110)
    canvas.lung[outer] *= 1 - shell


def hiatal_hernia(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Stomach behind the heart: a mass of 45-60 mm with gas above an air-fluid level.

    Difficulty: easy to medium. Gas in a place that has none; two or three slices.
    """
    wide = float(rng.uniform(23, 30))
    heart_back = body.heart[1] + 0.35 * body.heart_mm[1]
    top = body.domes[1] + 22
    centre: Point = (6, max(24, heart_back + 16), top - 26)
    box, cover = canvas.ellipsoid(centre, (wide + 3, wide - 3, 40))
    y = canvas.axes(box)[1]
    canvas.plant(label, box, cover, 35, 2 * round(wide), "hiatus")
    canvas.lung[box] *= 1 - cover
    gas, cover = canvas.ellipsoid(centre, (wide - 3, wide - 8, 34))
    y = canvas.axes(gas)[1]
    canvas.paint(gas, cover * canvas.soft(centre[1] + 3 - y), -900)


def lymphadenopathy(canvas: Canvas, body: Body, label: int, rng: np.random.Generator) -> None:
    """Enlarged nodes beside the trachea, under the carina, in the window and at the hila.

    Difficulty: hard. Soft tissue beside soft tissue; the nodes widen the mediastinum into the
    lungs and stand out against its fat.
    """
    largest = float(rng.choice([20, 22, 25, 28, 30]))
    places: tuple[Point, ...] = (
        (-24, 2, 58),
        (30, -6, 44),
        (-30, -2, 34),
        (2, 34, 14),
        (-36, 14, 6),
        (36, 14, 4),
        (24, -24, 66),
        (-26, -4, 82),
    )
    chosen = rng.choice(len(places), int(rng.integers(6, 9)), replace=False)
    for rank, index in enumerate(chosen):
        short = largest if rank == 0 else largest * float(rng.uniform(0.7, 0.95))
        x, y, z = (float(v) for v in np.add(places[index], rng.normal(0, 2, 3)))
        box, cover = canvas.ellipsoid((x, y, z), (0.52 * short, 0.5 * short, 0.62 * short))
        cover = cover * (canvas.hu[box] > -970)  # the airways stay open
        canvas.plant(label, box, cover, NODE, short, "mediastinum")
        canvas.lung[box] *= 1 - cover
