"""Running a resolved recipe: stage after stage, each finished one remembered."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.engine.bench import checkpoint_facts, image_bank
from ctfw.engine.context import Context, StageResult
from ctfw.errors import BadData, UserError
from ctfw.observers import Observers
from ctfw.runs.directory import RunDirectory, checkpoint_of, now
from ctfw.runs.files import write_json

if TYPE_CHECKING:
    from ctfw.plugins import Plugins
    from ctfw.recipe import ResolvedRecipe

SPLITS = ("train", "validation", "test")


def run_recipe(recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory) -> None:
    """Run what is not finished yet, then write the report page.

    A kill at any time leaves a folder that `ctfw resume` takes up. Raises what a stage raises,
    after status.json and the page say so.
    """
    observers = Observers(plugins.manager, say)
    quiet_libraries()
    started = run.status.get("started") or now()
    run.set_status(state="running", started=started, pid=os.getpid(), error=None)
    observers.notify("ctfw_run_started", run=run.path)
    problem: BaseException | None = None
    try:
        shared = _shared(recipe, plugins, run, observers)
        for name in recipe.stages:
            _stage(recipe, name, shared, run, observers)
        run.set_status(state="finished", ended=now(), stage=None)
    except BaseException as error:
        problem = error
        state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        words = str(error) if isinstance(error, UserError) else traceback.format_exc()
        run.set_status(state=state, ended=now(), error=words)
        raise
    finally:
        observers.notify("ctfw_run_finished", run=run.path, error=problem)
        _page(run, problem)


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """No progress bars and advice of other libraries between our own lines."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _shared(
    recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory, observers: Observers
) -> Context:
    """The data set on disk, its images preprocessed, and a context for the stages to copy."""
    context = Context(
        seed=recipe.seed,
        run=run,
        synthetic=recipe.synthetic,
        facts=checkpoint_facts(recipe),
        observers=observers,
    )
    dataset = context.build(recipe.data)
    dataset.prepare()
    context.dataset = dataset
    context.images = image_bank(plugins.catalog, recipe.data, context)
    context.make_backbone = lambda: context.build(recipe.backbone)
    tables = {split: dataset.cases(split) for split in SPLITS}
    for split, table in tables.items():
        if not len(table):
            raise BadData(f"data '{recipe.data.name}': the {split} split has no cases")
    workers = getattr(recipe.data.settings, "workers", None)
    context.images.prepare([case for table in tables.values() for case in table], workers)
    facts = {
        split: {"cases": len(t), "patients": len(set(t.patients)), "fingerprint": t.fingerprint()}
        for split, t in tables.items()
    }
    write_json(run.path / "data.json", facts)
    return context


def _stage(
    recipe: ResolvedRecipe, name: str, shared: Context, run: RunDirectory, observers: Observers
) -> None:
    if run.finished(name) is not None:
        shared.log(f"{name}: finished before")
        return
    stage = recipe.stages[name]
    context = Context(**{**vars(shared), "stage": name, "inputs": _inputs(stage, run)})
    context.make_backbone = lambda: context.build(recipe.backbone)
    run.set_status(stage=name)
    run.event("stage_started", stage=name)
    begin = time.monotonic()
    context.folder.mkdir(parents=True, exist_ok=True)
    result: StageResult = context.build(stage.block).run(context)
    seconds = round(time.monotonic() - begin, 1)
    write_json(
        context.folder / "done.json",
        {"products": result.products, "numbers": result.numbers, "seconds": seconds},
    )
    run.set_status(stages={**run.status.get("stages", {}), name: seconds})
    run.event("stage_finished", stage=name, seconds=seconds, numbers=result.numbers)
    observers.notify("ctfw_stage_finished", run=run.path, stage=name, result=result)


def _inputs(stage: Any, run: RunDirectory) -> dict[str, Path]:
    """Folders that a stage's references mean: `tune/best`, `tune`, or a path."""
    found = {}
    for field, reference in stage.needs.items():
        if reference.path is not None:
            found[field] = checkpoint_of(reference.path)
        elif reference.product == "checkpoint":
            found[field] = checkpoint_of(run.stage(reference.stage), reference.what or "best")
        else:
            found[field] = run.stage(reference.stage)
    return found


def _page(run: RunDirectory, problem: BaseException | None) -> None:
    """The report page, whatever happened; its own fault must not hide the run's."""
    from ctfw.page.build import build_page

    try:
        build_page(run.path)
    except Exception as error:
        if problem is None:
            raise
        run.event("page_failed", error=f"{type(error).__name__}: {error}")
