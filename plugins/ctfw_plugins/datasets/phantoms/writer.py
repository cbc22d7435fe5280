"""One phantom study from its random numbers, and the files it is written to.

`<split>/<id>.nii.gz` holds the CT (int16, HU, LPS), `masks/<id>.nii.gz` the bit field (int32, bit
l is label l) and `studies/<id>.json` labels and lesions. The JSON file comes last, by renaming:
a study whose JSON file exists is complete.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from isal import igzip

from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets.phantoms.anatomy import finish, paint_anatomy
from ctfw_plugins.datasets.phantoms.body import canvas_for, draw_body, draw_study
from ctfw_plugins.datasets.phantoms.canvas import Canvas, Spot
from ctfw_plugins.datasets.phantoms.lesions import CHRONIC, plant_all, with_cardiomegaly
from ctfw_plugins.datasets.phantoms.prevalence import draw_labels, shares_for

REVISION = 1  # raise when the same settings start to give other images


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the images: nothing else may change a voxel."""

    seed: int
    spacing_mm: float
    labels: tuple[str, ...]
    positives_per_case: float
    revision: int = REVISION

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"labels": sorted(self.labels)}

    @property
    def shares(self) -> np.ndarray:
        planted = np.array([name in self.labels for name in CT_RATE_LABELS])
        return shares_for(planted, self.positives_per_case)


@dataclass(frozen=True, slots=True)
class Study:
    """The name of a study: `train_12_a` is the first study of patient 12 of the training split."""

    split: str
    patient: int
    number: int

    @property
    def patient_id(self) -> str:
        return f"{self.split}_{self.patient}"

    @property
    def id(self) -> str:
        return f"{self.patient_id}_{'abcdefghijklmnopqrstuvwxyz'[self.number]}"


def generator(seed: int, *parts: object) -> np.random.Generator:
    """Random numbers that depend on the seed and on the words given, and on nothing else."""
    return np.random.default_rng([seed, *(crc32(str(part).encode()) for part in parts)])


def studies(split: str, count: int, most: int, seed: int) -> list[Study]:
    """`count` studies of one split: one to `most` per patient, patients in order.

    A longer list begins with the shorter one.
    """
    found: list[Study] = []
    patient = 0
    while len(found) < count:
        patient += 1
        rng = generator(seed, split, patient, "studies")
        weight = 0.5 ** np.arange(most)
        number = int(rng.choice(most, p=weight / weight.sum())) + 1
        found += [Study(split, patient, index) for index in range(number)]
    return found[:count]


def draw(recipe: Recipe, study: Study) -> tuple[Canvas, np.ndarray, np.ndarray]:
    """(canvas with mask and spots, (z, y, x) int16 HU, (18,) labels) of one study."""
    person = (recipe.seed, study.split, study.patient)
    visit = (*person, study.number)
    labels = draw_labels(recipe.shares, generator(*person, "labels"), generator(*visit, "labels"))
    return render(recipe, study, labels)


def render(
    recipe: Recipe, study: Study, labels: np.ndarray
) -> tuple[Canvas, np.ndarray, np.ndarray]:
    """The same, for labels that the caller chose."""
    person = (recipe.seed, study.split, study.patient)
    visit = (*person, study.number)
    body = draw_study(draw_body(generator(*person, "body")), generator(*visit, "body"))
    if labels[CT_RATE_LABELS.index("Cardiomegaly")]:
        body = with_cardiomegaly(body)
    canvas = canvas_for(body, recipe.spacing_mm)
    paint_anatomy(canvas, body, generator(*person, "vessels"))

    def rng_of(label: int) -> np.random.Generator:
        name = CT_RATE_LABELS[label]
        return generator(*(person if name in CHRONIC else visit), name)

    plant_all(canvas, body, labels, rng_of)
    return canvas, finish(canvas, body, generator(*visit, "noise")), labels


def affine_of(canvas: Canvas) -> np.ndarray:
    """4x4 voxel (i, j, k) -> mm in RAS+; i grows to the left, j to the back, k to the head."""
    x, y, z = canvas.origin
    step = canvas.spacing
    return np.array([[-step, 0, 0, -x], [0, -step, 0, -y], [0, 0, step, z], [0, 0, 0, 1]])


def write_study(root: Path, recipe: Recipe, study: Study) -> str:
    """Write the three files of a study unless they are there; returns its id."""
    record = record_path(root, study.id)
    if record.exists():
        return study.id
    canvas, hu, labels = draw(recipe, study)
    affine = affine_of(canvas)
    write_nifti(image_path(root, study.split, study.id), hu, affine)
    write_nifti(mask_path(root, study.id), canvas.mask, affine)
    facts = {
        "labels": [int(value) for value in labels],
        "lesions": [_lesion(spot) for spot in canvas.spots],
        "spacing_mm": canvas.spacing,
        "shape_zyx": list(canvas.shape),
    }
    write_bytes(record, json.dumps(facts).encode())
    return study.id


def write_studies(root: Path, recipe: Recipe, batch: list[Study], alone: bool = False) -> int:
    """Write several studies; the unit of work of one process.

    alone: the process does nothing else, so its memory may be tuned for this work.
    """
    if alone:
        _keep_memory()
    return len([write_study(root, recipe, study) for study in batch])


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Ask glibc to keep freed memory: giving back and taking again is a fifth of the time."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        trim_threshold, mmap_threshold, limit = -1, -3, 1 << 25  # names of malloc.h
        libc.mallopt(mmap_threshold, limit)
        libc.mallopt(trim_threshold, 8 * limit)


def image_path(root: Path, split: str, study: str) -> Path:
    return root / split / f"{study}.nii.gz"


def mask_path(root: Path, study: str) -> Path:
    return root / "masks" / f"{study}.nii.gz"


def record_path(root: Path, study: str) -> Path:
    return root / "studies" / f"{study}.json"


def _lesion(spot: Spot) -> dict[str, Any]:
    """A spot as it is stored: millimetres in RAS+, rounded to what can be seen."""
    x, y, z = spot.centre
    return {
        "label": CT_RATE_LABELS[spot.label],
        "centre_mm": [round(-x, 1), round(-y, 1), round(z, 1)],
        "size_mm": round(spot.size_mm, 1),
        "slices": list(spot.slices),
        "side": spot.side,
        "place": spot.place,
    }


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a (z, y, x) array as `.nii.gz` with sform and qform, gzip level 1, atomically."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_xyzt_units("mm", "sec")
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_slope_inter(1, 0)
    # x runs fastest in a file, as it does in a (z, y, x) array: the bytes are the same
    raw = header.binaryblock + b"\0\0\0\0" + np.ascontiguousarray(array).tobytes()
    write_bytes(path, igzip.compress(raw, compresslevel=1, mtime=0))


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
