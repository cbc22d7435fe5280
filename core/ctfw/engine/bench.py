"""What the stages of a run share: the data set, the volume pipeline, the backbone's recipe."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.engine.context import Context
from ctfw.engine.images import ImageBank
from ctfw.types import CaseTable
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from ctfw.contracts import Dataset
    from ctfw.registry import Catalog


def make_pipeline(
    catalog: Catalog, loader: Block | None, steps: list[Block], context: Context
) -> VolumePipeline:
    """The chain from a file to what the backbone encodes.

    Without a `loader`, the first installed one that can read the file is taken, built-ins first.
    """
    built = [context.build(block) for block in steps]
    specs = [spec_of(block) for block in steps]
    reader = spec_of(loader) if loader else ""
    return VolumePipeline(
        partial(open_slices, loaders=loaders(catalog, loader, context)), built, specs, reader
    )


def loaders(catalog: Catalog, loader: Block | None, context: Context) -> list[tuple[str, Any]]:
    """(name, loader) to try in order; those whose packages are missing are left out."""
    if loader is not None:
        return [(loader.name, context.build(loader))]
    found = []
    for component in catalog.all("volume_loader"):
        if not component.missing():
            found.append((component.name, context.build(Block(component, component.config()))))
    return found


def image_bank(catalog: Catalog, data: Block, context: Context) -> ImageBank:
    """The images of a recipe's data set."""
    settings: Any = data.settings
    return ImageBank(make_pipeline(catalog, settings.loader, list(settings.preprocess), context))


class UsableCases:
    """A data set without the cases whose scans were refused."""

    def __init__(self, dataset: Dataset, refused: Collection[str]) -> None:
        self._dataset = dataset
        self._refused = frozenset(refused)
        self.label_names = dataset.label_names

    def prepare(self) -> None:
        self._dataset.prepare()

    def cases(self, split: str) -> CaseTable:
        table = self._dataset.cases(split)
        kept = tuple(case for case in table if case.id not in self._refused)
        return CaseTable(kept, table.label_names)


def checkpoint_facts(recipe: Any) -> dict[str, Any]:
    """What a checkpoint must know to be used on a bare file, anywhere."""
    settings: Any = recipe.data.settings
    return {
        "ctfw": 1,
        "recipe": recipe.name,
        "hash": recipe.hash,
        "synthetic": recipe.synthetic,
        "loader": settings.loader.plain() if settings.loader else None,
        "preprocess": [block.plain() for block in settings.preprocess],
        "backbone": recipe.backbone.plain(),
        "generation": recipe.generation.decoding,
    }


def scan_path(text: str) -> Path:
    """A path given on the command line. Raises UserError when nothing is there."""
    from pathlib import Path

    from ctfw.errors import UserError

    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return path
