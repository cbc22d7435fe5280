"""Running a resolved recipe: stage after stage, each finished one remembered.

With several processes all come through here. The main one keeps the run's folder; the others join
it in the stages that say `several_processes = True`, and wait in front of the other stages.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import uuid
import warnings
from contextlib import suppress
from logging import LogRecord, StreamHandler, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw import processes
from ctfw.engine.ahead import rehearse, tell_large_steps
from ctfw.engine.bench import UsableCases, checkpoint_facts, image_bank
from ctfw.engine.checkpoint import check_model
from ctfw.engine.context import Context, StageResult
from ctfw.engine.spawn import JOB, end_with_launcher
from ctfw.errors import BadData, UserError
from ctfw.interruption import stoppable
from ctfw.observers import Observers
from ctfw.runs.begun import note_processes
from ctfw.runs.directory import RunDirectory, checkpoint_of, now
from ctfw.runs.fault import Fault, first, forget
from ctfw.runs.files import write_json
from ctfw.runs.lock import only_one

if TYPE_CHECKING:
    from ctfw.contracts import Stage
    from ctfw.engine.images import ImageBank
    from ctfw.plugins import Plugins
    from ctfw.recipe import ResolvedRecipe
    from ctfw.types import Case

SPLITS = ("train", "validation", "test")
MOST_REFUSED = 0.5
_A_MOMENT_S = 1.0


def run_recipe(recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory) -> None:
    """Run what is not finished yet, then write the report page.

    A kill at any time leaves a folder that `ctfw resume` takes up. Raises what a stage raises,
    after status.json and the page say so; SystemExit where another process has told of its error.
    """
    with processes.joined(), stoppable():
        end_with_launcher()
        job = os.environ.get(JOB) or processes.share(uuid.uuid4().hex)
        try:
            if processes.is_main():
                with only_one(run.path, run.status.get("pid")):
                    forget(run.path, but=job)
                    _run(recipe, plugins, run, job)
            else:
                quiet_libraries()
                _stages(recipe, plugins, run, None)
        except BaseException as error:
            found = _first_fault(error, run, job)
            if found.rank != processes.rank():  # who failed first has told of it
                raise SystemExit(found.code) from error
            raise


def _run(recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory, job: str) -> None:
    observers = Observers(plugins.manager, say)
    quiet_libraries()
    started = run.status.get("started") or now()
    run.set_status(state="running", started=started, pid=os.getpid(), error=None)
    note_processes(recipe, run)
    observers.notify("ctfw_run_started", run=run.path)
    problem: BaseException | None = None
    try:
        _stages(recipe, plugins, run, observers)
        run.set_status(state="finished", ended=now(), stage=None, error=None)
    except BaseException as error:
        problem = error
        found = _first_fault(error, run, job)
        run.set_status(state=found.state, ended=now(), error=found.words)
        raise
    finally:
        observers.notify("ctfw_run_finished", run=run.path, error=problem)
        _page(run, problem)


def _stages(
    recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory, observers: Observers | None
) -> None:
    shared = _shared(recipe, plugins, run, observers)
    for name in recipe.stages:
        _stage(recipe, name, shared, run)


def _first_fault(error: BaseException, run: RunDirectory, job: str) -> Fault:
    """This error, or that of the process that failed before and so made this one fail.

    A crash waits a moment: it may be the broken line to a process that has not told of its own
    error yet.
    """
    state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    words = _words(error) if processes.is_main() else f"process {processes.rank()}: {_words(error)}"
    own = Fault(processes.rank(), state, words, 2 if isinstance(error, UserError) else 1)
    if processes.world() == 1:
        return own
    with suppress(ValueError):  # the launcher stops who is left; the status is to be written first
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not isinstance(error, (UserError, KeyboardInterrupt)):
        time.sleep(_A_MOMENT_S)
    return first(run.path, job, own)


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, UserError) else traceback.format_exc()


def say(text: str) -> None:
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """No progress bars and advice of other libraries between our own lines, and none on stdout."""
    getLogger("DeepSpeed").addFilter(_to_stderr)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    import torch
    from transformers.utils import logging

    if not torch.cuda.is_available():  # or DeepSpeed, which Accelerate imports, tells of its search
        os.environ.setdefault("DS_ACCELERATOR", "cpu")

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _to_stderr(record: LogRecord) -> bool:
    """A filter of DeepSpeed's logger. Its handler writes to stdout, and is made when Accelerate
    imports DeepSpeed in the middle of a run."""
    for handler in getLogger(record.name).handlers:
        if isinstance(handler, StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    return True


def _shared(
    recipe: ResolvedRecipe, plugins: Plugins, run: RunDirectory, observers: Observers | None
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
    rehearse(recipe, context, run)
    processes.first_here_then_others(dataset.prepare)
    context.images = image_bank(plugins.catalog, recipe.data, context)
    context.make_backbone = lambda: context.build(recipe.backbone)
    everyone = [case for split in SPLITS for case in dataset.cases(split)]
    refused = _preprocess(recipe, context.images, everyone)
    if refused and processes.is_main():
        _quarantine(refused, len(everyone), run, context)
    context.dataset = UsableCases(dataset, refused)
    facts = {}
    for split in SPLITS:
        table = context.dataset.cases(split)
        if not len(table):
            raise BadData(f"data '{recipe.data.name}': the {split} split has no cases")
        facts[split] = {
            "cases": len(table),
            "patients": len(set(table.patients)),
            "fingerprint": table.fingerprint(),
        }
    _same_everywhere(facts, recipe)
    tell_large_steps(recipe, context, run, len(context.dataset.cases("train")))
    if processes.is_main():
        write_json(run.path / "data.json", {**facts, "quarantined": len(refused)})
    return context


def _preprocess(recipe: ResolvedRecipe, images: ImageBank, everyone: list[Case]) -> dict[str, str]:
    """Why scans are refused, by case; done by one process of each machine."""
    workers = getattr(recipe.data.settings, "workers", None)

    def work() -> dict[str, str]:
        return images.prepare(everyone, workers) if processes.local_rank() == 0 else {}

    return processes.share(processes.first_here_then_others(work))


def _same_everywhere(facts: dict[str, Any], recipe: ResolvedRecipe) -> None:
    """Raises BadData where a machine has other cases than the main process."""
    if facts != processes.share(facts):
        raise BadData(
            f"data '{recipe.data.name}': this machine has other cases, reports or labels than "
            "that of the main process; give all machines the same copy of the data set"
        )


def _quarantine(refused: dict[str, str], total: int, run: RunDirectory, context: Context) -> None:
    """Remember which scans are left out and why; too many of them end the run."""
    write_json(run.path / "quarantine.json", refused)
    name, reason = next(iter(refused.items()))
    text = f"{len(refused)} of {total} scans cannot be used; the first, {name}: {reason}"
    if len(refused) > total * MOST_REFUSED:
        raise BadData(f"{text} (all of them: {run.path / 'quarantine.json'})")
    context.log(f"{text}; they are left out, see {run.path / 'quarantine.json'}")


def _stage(recipe: ResolvedRecipe, name: str, shared: Context, run: RunDirectory) -> None:
    if processes.share(run.finished(name) is not None):
        shared.log(f"{name}: finished before")
        return
    stage = recipe.stages[name]
    inputs = processes.share(_inputs(stage, run) if processes.is_main() else {})
    context = Context(**{**vars(shared), "stage": name, "inputs": inputs})
    context.make_backbone = lambda: context.build(recipe.backbone)
    built: Stage = context.build(stage.block)
    if processes.is_main():
        _main_stage(built, context, run)
    elif getattr(built, "several_processes", False):
        built.run(context)
    processes.wait()


def _main_stage(stage: Stage, context: Context, run: RunDirectory) -> None:
    name = context.stage
    run.set_status(stage=name)
    run.event("stage_started", stage=name)
    begin = time.monotonic()
    context.folder.mkdir(parents=True, exist_ok=True)
    try:
        result: StageResult = stage.run(context)
    finally:
        if context.trackers is not None:
            context.trackers.close()
    seconds = round(time.monotonic() - begin, 1)
    write_json(
        context.folder / "done.json",
        {"products": result.products, "numbers": result.numbers, "seconds": seconds},
    )
    run.set_status(stages={**run.status.get("stages", {}), name: seconds})
    run.event("stage_finished", stage=name, seconds=seconds, numbers=result.numbers)
    if context.observers is not None:
        context.observers.notify("ctfw_stage_finished", run=run.path, stage=name, result=result)


def _inputs(stage: Any, run: RunDirectory) -> dict[str, Path]:
    """Folders that a stage's references mean: `tune/best`, `tune`, or a path.

    Raises BadCheckpoint for one that is not there, or damaged.
    """
    found = {}
    for field, reference in stage.needs.items():
        if reference.path is None and reference.product != "checkpoint":
            found[field] = run.stage(reference.stage)
            continue
        place = reference.path or run.stage(reference.stage)
        found[field] = checkpoint_of(place, reference.what or "best")
        check_model(found[field])
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
