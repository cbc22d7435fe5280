"""With how many processes a training was begun: part of the experiment, and not of the recipe.

An optimizer step reads batch_size x gradient_accumulation x processes cases. So the run remembers
the number in status.json. Going on with another one, it accumulates more or fewer passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctfw.place import world
from ctfw.runs.directory import RunDirectory

if TYPE_CHECKING:
    from ctfw.recipe import ResolvedRecipe

PROCESSES = "processes"


def note_processes(recipe: ResolvedRecipe, run: RunDirectory) -> None:
    """Remember how many processes there are, where a stage trains and none has a checkpoint yet."""
    trains = any("checkpoint" in s.block.component.gives for s in recipe.stages.values())
    if trains and not any(run.path.glob("stages/*/checkpoints/last")):
        run.set_status(**{PROCESSES: world()})


def begun_with(run: RunDirectory) -> int | None:
    """Processes that the run was begun with; None where it trains nothing, or is an old one."""
    found = run.status.get(PROCESSES)
    return found if isinstance(found, int) else None


def resume_command(run: RunDirectory, processes: int) -> str:
    """What goes on with a run in that many processes of this machine."""
    return f"ctfw resume {run.path}" + (f" --nproc {processes}" if processes > 1 else "")
