"""What the checks look at: a recipe, its data set, its preprocessing."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ctfw.component import Block
from ctfw.errors import UserError
from ctfw.model_plan import ModelPlan, PlanningBackbone
from ctfw.progress import track
from ctfw.types import Case, CaseTable, Volume

if TYPE_CHECKING:
    from ctfw.contracts import Dataset
    from ctfw.engine.context import Context
    from ctfw.plugins import Plugins
    from ctfw.recipe import ResolvedRecipe
    from ctfw.volumes.pipeline import VolumePipeline

Item = TypeVar("Item")
Result = TypeVar("Result")
SPLITS = ("train", "validation", "test")
_THREADS = 16  # files are waited for, most of all on network shares
_TRIES = 5


@dataclass(frozen=True)
class Processed:
    """The first case whose scan passes the preprocessing."""

    case: Case
    volume: Volume
    seconds: float


@dataclass
class Scene:
    """Everything that a check may ask for; nothing here is changed by a check.

    scans      most headers read per split, evenly spaced; 0 reads all
    runs       where the folders of runs are made
    processes  that will train, each on a GPU of its own where there are GPUs
    tables     split -> its cases, of the splits that have any
    """

    recipe: ResolvedRecipe
    plugins: Plugins
    context: Context
    scans: int = 2000
    runs: Path = Path("runs")
    processes: int = 1
    dataset: Dataset | None = None
    pipeline: VolumePipeline | None = None
    tables: dict[str, CaseTable] = field(default_factory=dict)

    @property
    def cases(self) -> list[Case]:
        """Every case, split by split."""
        return [case for table in self.tables.values() for case in table]

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.dataset.label_names) if self.dataset is not None else ()

    def blocks(self, kind: str) -> Iterator[tuple[str, Block]]:
        """(dotted path, block) of the components of a kind that the recipe uses."""
        for path, block in self.recipe.blocks():
            if block.component.kind == kind:
                yield path, block

    def stages(self, field_name: str) -> Iterator[tuple[str, Any]]:
        """(name, settings) of the stages that have a setting of that name, and a value for it."""
        for name, stage in self.recipe.stages.items():
            if getattr(stage.block.settings, field_name, None) is not None:
                yield name, stage.block.settings

    def training_stages(self) -> Iterator[tuple[str, Any]]:
        """(name, settings) of the stages that train and leave a checkpoint."""
        for name, settings in self.stages("training"):
            if "checkpoint" in self.recipe.stages[name].block.component.gives:
                yield name, settings

    @property
    def first(self) -> Processed:
        """The first of a few training cases that passes the preprocessing, and how long it took.

        Stores of the chain keep what they are made to keep. Raises UserError when none passes.
        """
        if isinstance(self._first, UserError):
            raise self._first
        return self._first

    @cached_property
    def _first(self) -> Processed | UserError:
        """Tried once, because several checks ask for it."""
        if self.pipeline is None:
            return UserError("no scan can be preprocessed, see above")
        reasons = []
        for case in self.cases[:_TRIES]:
            start = time.monotonic()
            try:
                volume = self.pipeline(case.image, case)
            except UserError as error:
                reasons.append(f"case {case.id}: {error}")
                continue
            except Exception as error:
                reasons.append(f"case {case.id}: {case.image}: {where(error)}")
                continue
            return Processed(case, volume, time.monotonic() - start)
        return UserError(
            f"none of the first {len(reasons)} scans passes the preprocessing; {reasons[0]}"
        )

    @cached_property
    def plan(self) -> ModelPlan | None:
        """What the backbone says of the first case; None when it is not one that plans.

        Raises UserError as `first`, and what the backbone raises for a volume it refuses.
        """
        backbone = self.context.build(self.recipe.backbone)
        if not isinstance(backbone, PlanningBackbone):
            return None
        if self.needs_torch:
            from ctfw.engine.run import quiet_libraries

            quiet_libraries()
        train = self.tables.get("train")
        return backbone.plan(self.first.volume, [] if train is None else train.reports)

    @cached_property
    def needs_torch(self) -> bool:
        """Whether a component of the recipe says that it needs torch."""
        return any(
            need.startswith("torch")
            for _, block in self.recipe.blocks()
            for need in block.component.needs
        )


def where(error: Exception) -> str:
    """Type and place of a crash, without its text, which may quote a header of a scan."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def sources(case: Case) -> tuple[Path, ...]:
    """The files or folders of a case: its views, or the one scan."""
    return case.views or (case.image,)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterable[Result]:
    """Results in order, with a bar."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from track(pool.map(work, items), title, len(items))
