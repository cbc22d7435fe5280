"""`dataset: phantom`: synthetic chest CTs whose reports can be learnt without looking.

The template of the reports scores well in BLEU by itself; which findings are there, on which side
and how large, only the image tells. That makes it a benchmark of the text shortcut.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw.paths import cache_dir
from ctfw.progress import bar
from ctfw.types import HU, Case, CaseTable, Lesion
from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantoms.reports import join_sections, write_report
from ctfw_plugins.datasets.phantoms.writer import (
    Recipe,
    Study,
    generator,
    image_path,
    mask_path,
    record_path,
    studies,
    write_bytes,
    write_studies,
)

SPLITS = ("train", "validation", "test")
_BATCH = 8  # studies per unit of work of a process


class Phantom:
    """Synthetic chest CTs as real NIfTI files, with labels, lesions, masks and reports.

    A study depends on the seed, the settings that shape images and its own name alone. So the
    splits can grow without drawing a study twice, and a killed `prepare` goes on where it was.
    """

    label_names = CT_RATE_LABELS

    def __init__(self, config: PhantomConfig, context: Any = None) -> None:
        self.config = config
        self.recipe = Recipe(
            config.seed, config.spacing_mm, config.labels, config.positives_per_case
        )
        self.root = config.root or cache_dir() / "phantom" / self.fingerprint

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the images: the same value means the same files."""
        plain = json.dumps(self.recipe.plain() | {"max_studies": self.config.max_studies})
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def studies(self, split: str) -> list[Study]:
        """The studies of a split; patients of one split are never in another."""
        count = {name: getattr(self.config, name) for name in SPLITS}[split]
        return studies(split, count, self.config.max_studies, self.config.seed)

    def prepare(self) -> None:
        """Draw the studies that are not on disk yet. Raises BadData for a folder of others."""
        self._claim()
        wanted = [study for split in SPLITS for study in self.studies(split)]
        done = {path.stem for path in (self.root / "studies").glob("*.json")}
        missing = [study for study in wanted if study.id not in done]
        if missing:
            _draw_all(self.root, self.recipe, missing, self.config.workers)

    def cases(self, split: str) -> CaseTable:
        """The cases of a split. Raises BadData when it has none or `prepare` was not called."""
        if split not in SPLITS:
            raise BadData(f"phantom: no split {split!r}; there are {', '.join(SPLITS)}")
        chosen = self.studies(split)
        if not chosen:
            raise BadData(f"phantom: the {split} split is empty; set data.{split} above 0")
        return CaseTable(tuple(self._case(study) for study in chosen), CT_RATE_LABELS)

    def _claim(self) -> None:
        """Write the manifest, or check that the folder's manifest is ours."""
        manifest = self.root / "manifest.json"
        if not manifest.exists():
            facts = self.recipe.plain() | {"max_studies": self.config.max_studies}
            content = {"fingerprint": self.fingerprint, "synthetic": True, "settings": facts}
            write_bytes(manifest, json.dumps(content, indent=1).encode())
            return
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadData(
                f"phantom: {manifest} cannot be read ({error}); remove the folder or give another "
                "data.root"
            ) from error
        if found != self.fingerprint:
            raise BadData(
                f"phantom: {self.root} holds phantoms of other settings ({found}, not "
                f"{self.fingerprint}); remove the folder or give another data.root"
            )

    def _case(self, study: Study) -> Case:
        """A study as a case, from its record on disk and the text settings."""
        path = record_path(self.root, study.id)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadData(
                f"phantom: {path} is missing or broken ({error}); run the recipe again, after "
                "removing the file if it is there"
            ) from error
        words = generator(self.config.seed, study.split, study.patient, study.number, "words")
        findings, impression = write_report(
            record["labels"], record["lesions"], self.config.style, self.config.labels, words
        )
        return Case(
            id=study.id,
            patient=study.patient_id,
            image=image_path(self.root, study.split, study.id),
            report=join_sections(findings, impression, self.config.sections),
            split=study.split,
            study=study.id,
            findings=findings,
            impression=impression,
            labels=np.array(record["labels"], np.int8),
            lesions=tuple(_lesion(row) for row in record["lesions"]),
            mask=mask_path(self.root, study.id),
            hints={"intensity": HU},
        )


def _draw_all(root: Path, recipe: Recipe, missing: list[Study], workers: int | None) -> None:
    """Draw studies in processes, a batch at a time."""
    from joblib import Parallel, delayed

    batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
    count = min(workers or os.cpu_count() or 1, len(batches))
    pool = Parallel(n_jobs=count, return_as="generator_unordered", pre_dispatch="4*n_jobs")
    finished = pool(delayed(write_studies)(root, recipe, batch, count > 1) for batch in batches)
    total = 0
    with bar("draw phantoms", len(missing)) as job:
        for written in finished:
            total += written
            job.advance(written)
    if total != len(missing):
        raise BadData(f"phantom: {len(missing) - total} studies were not written under {root}")


def _lesion(row: dict[str, Any]) -> Lesion:
    x, y, z = row["centre_mm"]
    return Lesion(row["label"], (x, y, z), row["size_mm"], tuple(row["slices"]), row["side"])
