"""Normal anatomy of the chest, painted from a `Body`."""

from __future__ import annotations

import numpy as np

from ctfw_plugins.datasets.phantoms.body import Body
from ctfw_plugins.datasets.phantoms.canvas import Canvas, Point, bend, line

MUSCLE, FAT, LIVER, SPLEEN, AIR = 48.0, -95.0, 58.0, 48.0, -1000.0
VESSEL = -230.0  # branches in the lung are thinner than a voxel and share it with air


def paint_anatomy(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Everything that is normal, in the order in which it covers what came before.

    `rng` belongs to the patient: vessels branch in the same places in each of his studies.
    """
    _wall(canvas, body)
    _lungs_and_abdomen(canvas, body)
    _heart_and_great_vessels(canvas, body)
    _lung_vessels(canvas, body, rng)
    _airways(canvas, body)
    _bones(canvas, body)


def finish(canvas: Canvas, body: Body, rng: np.random.Generator) -> np.ndarray:
    """(z, y, x) int16 HU with the noise of the study, which the air around the body has not."""
    across, deep = outline(body)
    box = canvas.box((-across, -deep, -400), (across, deep, 400))
    x, y, _ = canvas.axes(box)
    view = canvas.hu[box]
    noise = rng.standard_normal(view.shape, dtype=np.float32)
    noise *= np.float32(body.noise_hu) * ((x / across) ** 2 + (y / deep) ** 2 < 1)
    view += noise
    whole = np.rint(canvas.hu, out=canvas.hu)
    return np.clip(whole, -1024, 3071, out=whole).astype(np.int16)


def outline(body: Body) -> tuple[float, float]:
    """Half-axes of the skin, left to right and front to back, mm."""
    wall = body.muscle_mm + body.fat_mm
    return body.half_x + wall + 4, body.half_y + wall


def taper(body: Body, z: np.ndarray) -> np.ndarray:
    """Width of the chest cavity at height z, as a share of its widest."""
    up = np.clip((z - 10) / (body.apex - 10), 0, 1)
    return np.sqrt(np.clip(1 - 0.97 * up**2.6, 0.02, 1)) * np.where(z > body.apex, 0.01, 1)


def _wall(canvas: Canvas, body: Body) -> None:
    """Table, skin, fat and muscle: the same in every slice, so painted once and copied."""
    x, y = canvas.x, canvas.y[:, None]
    across, deep = outline(body)
    plane = np.full((len(canvas.y), len(canvas.x)), AIR, np.float32)
    table = canvas.soft(4 - np.abs(y - (deep + 7) + 9 * (x / 110) ** 2)) * (np.abs(x) < 150)
    skin = (1 - np.sqrt((x / across) ** 2 + (y / deep) ** 2)) * deep
    inner_x, inner_y = across - body.fat_mm, deep - 0.8 * body.fat_mm
    inner = (1 - np.sqrt((x / inner_x) ** 2 + (y / inner_y) ** 2)) * inner_y
    for cover, hu in (
        (table, -250),
        (canvas.soft(skin), MUSCLE),
        (canvas.soft(skin - 2.5), FAT),
        (canvas.soft(inner), MUSCLE),
    ):
        plane += cover * (hu - plane)
    canvas.hu[:] = plane


def _lungs_and_abdomen(canvas: Canvas, body: Body) -> None:
    """Lungs above the diaphragm, liver and spleen below, fat between the lungs."""
    box = canvas.box((-body.half_x, -body.half_y, -400), (body.half_x, body.half_y, 400))
    x, y, z = canvas.axes(box)
    edge = np.sqrt((x / body.half_x) ** 2 + (y / body.half_y) ** 2)
    cavity = canvas.soft((taper(body, z) - edge) * body.half_y)
    middle = body.waist * (0.55 + 0.45 * np.exp(-(((y - 12) / 38) ** 2)))  # (y, 1)
    apart = canvas.soft(np.abs(x) - middle)  # (y, x)
    dome = np.where(x < 0, np.float32(body.domes[0]), np.float32(body.domes[1]))
    dome = dome - 46 * (((np.abs(x) - 58) / 55) ** 2 + ((y + 5) / 72) ** 2)
    above = canvas.soft(z - np.maximum(dome, body.base))
    low = (slice(0, int(np.searchsorted(canvas.z, max(body.domes) + 8))), *box[1:])
    canvas.paint(box, cavity, FAT)
    organs = np.where(x < 20, np.float32(LIVER), np.float32(SPLEEN))
    canvas.paint(low, cavity[low[0]] * (1 - above[low[0]]), organs)
    above *= cavity
    above *= apart
    canvas.lung[box] = above
    canvas.paint(box, above, body.lung_hu + 25 * y / body.half_y)
    stomach, cover = canvas.ellipsoid((62, -18, body.base + 2), (22, 24, 16))
    canvas.paint(stomach, cover * (1 - canvas.lung[stomach]), -850)


def hilum(body: Body, sign: int) -> Point:
    """Where the main bronchus and the vessels enter a lung; sign -1 is right, 1 left."""
    return (sign * (body.waist + 8), 12.0, 14.0 if sign < 0 else 18.0)


def _heart_and_great_vessels(canvas: Canvas, body: Body) -> None:
    """Heart, aorta, pulmonary trunk, superior vena cava, branches of the arch, oesophagus."""
    box, cover = canvas.ellipsoid(body.heart, body.heart_mm)
    floor = canvas.soft(canvas.axes(box)[2] - (body.heart[2] - 0.8 * body.heart_mm[2]))
    heart = cover * floor
    canvas.paint(box, heart, body.blood_hu)
    canvas.lung[box] *= 1 - heart
    _vessel(canvas, aorta_line(body, canvas.spacing), body.aorta_mm, body.blood_hu)
    step = canvas.spacing
    _vessel(canvas, line((16, -28, 0), (20, -14, 26), (-18, 4, 22), step=step), 11, body.blood_hu)
    cava = line((-22, -20, -10), (-24, -14, 55), (-16, -22, 90), step=step)
    _vessel(canvas, cava, 8.5, body.blood_hu)
    for x, y in ((-12, -12), (2, -8), (14, 0)):
        up = line((x, y, 62), (1.6 * x, y + 2, body.apex + 18), step=step)
        _vessel(canvas, up, 5.5, body.blood_hu)
    _vessel(canvas, line((3, 32, body.apex + 18), (8, 38, body.base), step=step), 6.5, 35)


def aorta_line(body: Body, step: float) -> np.ndarray:
    """(N, 3) centreline from the root over the arch down to the bottom of the scan."""
    arch = bend((-10, -28, 40), (2, -10, 82), (20, 36, 46), step)
    up = line((-4, -22, -8), (-10, -28, 40), step=step)
    down = line((20, 36, 46), (20, 46, 0), (14, 48, body.base - 12), step=step)
    return np.concatenate([up, arch, down])


def _vessel(canvas: Canvas, points: np.ndarray, radius: float, hu: float) -> None:
    """A vessel outside the lungs: it displaces lung."""
    box, cover = canvas.tube(points, radius)
    canvas.paint(box, cover, hu)
    canvas.lung[box] *= 1 - cover


def _lung_vessels(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Branches from each hilum that taper towards the pleura."""
    for sign in (-1, 1):
        start = np.array(hilum(body, sign), np.float32)
        n, length = 44, 24
        u = rng.uniform(-1, 1, (n, 3))
        span = (body.half_x * 0.42, body.half_y * 0.85, (body.apex - body.base) * 0.42)
        stop = np.array((sign * body.half_x * 0.55, 2, -8), np.float32) + (u * span).astype(
            np.float32
        )
        middle = (start + stop) / 2 + rng.normal(0, 9, (n, 3)).astype(np.float32)
        t = np.linspace(0, 1, length, dtype=np.float32)[None, :, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle[:, None] + t**2 * stop[:, None]
        thick = rng.uniform(2.6, 3.8, (n, 1)) * (1 - 0.6 * t[..., 0])
        box, cover = canvas.tube(curve.reshape(-1, 3), thick.reshape(-1))
        canvas.paint(box, cover * canvas.lung[box], VESSEL)


def bronchi(body: Body, sign: int, step: float) -> list[tuple[np.ndarray, float]]:
    """(centreline, lumen radius mm) of the main and lobar bronchi of one side."""
    root: Point = (0, 18, 34)
    gate = hilum(body, sign)
    far = sign * body.half_x
    height = body.apex - body.base
    ends: tuple[Point, ...] = (
        (far * 0.52, 0, body.base + 0.80 * height),
        (far * 0.62, -38, body.base + 0.52 * height),
        (far * 0.55, 30, body.base + 0.30 * height),
    )
    tree = [(line(root, gate, step=step), 5.5)]
    return tree + [(line(gate, end, step=step), 2.6) for end in ends]


def _airways(canvas: Canvas, body: Body) -> None:
    """Trachea, main and lobar bronchi, with walls."""
    pipes = [(line((0, 14, body.apex + 18), (0, 18, 34), step=canvas.spacing), 8.0)]
    pipes += bronchi(body, -1, canvas.spacing) + bronchi(body, 1, canvas.spacing)
    for points, radius in pipes:
        wall, cover = canvas.tube(points, radius + 1.2)
        canvas.paint(wall, cover * 0.7, 0)
        box, cover = canvas.tube(points, radius)
        canvas.paint(box, cover, AIR + 20)


def _bones(canvas: Canvas, body: Body) -> None:
    """Spine with discs and canal, ribs, sternum."""
    step, half_y = canvas.spacing, body.half_y
    back = half_y - 22
    box = canvas.box((-24, back - 22, -400), (24, back + 40, 400))
    x, y, z = canvas.axes(box)
    y = y - 3e-4 * body.kyphosis * z**2 / 2  # the thoracic spine is curved
    trunk = canvas.soft((1 - np.sqrt((x / 19) ** 2 + ((y - back) / 16) ** 2)) * 16)
    disc = np.cos(2 * np.pi * z / 27) > 0.85
    canvas.paint(box, trunk, np.where(disc, 90, 0.55 * body.bone_hu))
    canvas.lung[box] *= 1 - trunk
    arch = canvas.soft((1 - np.sqrt((x / 22) ** 2 + ((y - back - 24) / 11) ** 2)) * 11)
    canvas.paint(box, arch, 0.7 * body.bone_hu)
    canal = canvas.soft((1 - np.sqrt((x / 9) ** 2 + ((y - back - 21) / 7) ** 2)) * 7)
    canvas.paint(box, canal, 30)
    points = np.concatenate([_rib(body, level, sign) for level in range(11) for sign in (-1, 1)])
    box, cover = canvas.tube(points, 3.8)
    canvas.paint(box, cover, body.bone_hu)
    sternum = line((0, -half_y - 4, -38), (0, -half_y - 2, 62), step=step)
    flat = np.concatenate(
        [sternum + np.array([dx, 0, 0], np.float32) for dx in (-9, -4.5, 0, 4.5, 9)]
    )
    box, cover = canvas.tube(flat, 4.0)
    canvas.paint(box, cover, 0.5 * body.bone_hu)


def _rib(body: Body, level: int, sign: int) -> np.ndarray:
    """(N, 3) a rib from the spine around the side; it slopes down to the front."""
    top = body.apex + 4 - 22.5 * level
    t = np.linspace(0.06, 0.86 if level < 9 else 0.6, 64, dtype=np.float32)
    z = top - 58 * t
    angle = np.pi * t  # 0 at the back, pi at the front
    share = np.maximum(taper(body, z), 0.3)
    x = sign * (share * body.half_x + 5) * np.sin(angle)
    y = (share * body.half_y + 4) * np.cos(angle)
    return np.stack([x, y, z], -1)
