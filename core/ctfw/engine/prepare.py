"""Many volumes through the chain: in processes of this machine, or of a Dask cluster.

What is done is in the stores, so a rerun does what is missing. A volume that cannot be used is
remembered with its reason and the others go on; a process that dies costs the volumes that were
in its hands, and one on which processes die twice is left out.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.engine.ledger import Ledger
from ctfw.engine.survey import Survey
from ctfw.errors import MissingPackage, UserError
from ctfw.progress import bar, size_of
from ctfw.types import Case
from ctfw.volumes.work import Row, prepare_one, stamp

if TYPE_CHECKING:
    from ctfw.progress import Bar
    from ctfw.volumes.pipeline import VolumePipeline

_DEATHS = 3
_UNWRITTEN = 3  # in a row: then it is the disk, and going on only wastes hours
_IDLE_S = 20  # until a worker ends whose parent was killed
_ANSWER_S = 15


def prepare_volumes(
    pipeline: VolumePipeline,
    cases: Sequence[Case],
    ledger: Ledger,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    survey: Survey | None = None,
    max_failures: int | None = None,
) -> Ledger:
    """Fill the stores for every case, one task per volume; returns the ledger.

    workers       processes; None: one per core that this process may use
    cluster       address of a running Dask scheduler instead, e.g. tcp://10.0.0.1:8786
    survey        what was found out about the cases before (`Survey.of`); None: look now
    max_failures  stop once so many volumes could not be used

    Raises UserError when worker processes keep dying, when the disk cannot hold what is to come,
    or at `max_failures`.
    """
    pipeline.sweep()
    survey = survey or Survey.of(pipeline, cases, ledger)
    todo = dict(survey.todo)
    if not todo:
        return ledger
    with bar("preprocess scans", len(todo)) as job, _marks(cluster) as marks:
        keeper = _Keeper(ledger, job, survey, max_failures)
        deaths = 0
        while todo:
            try:
                for row in _rows(pipeline, todo, survey.every, marks, workers, cluster):
                    del todo[row.key]
                    deaths = 0
                    keeper.take(row)
            except Exception as error:
                if not _died(error):
                    raise
                deaths += 1
                suspects = [key for key in todo if marks is not None and (marks / key).exists()]
                for key in suspects:
                    keeper.take(_alone(pipeline, todo.pop(key), key, survey.every))
                if deaths >= _DEATHS and not suspects:
                    raise UserError(
                        "the worker processes are killed again and again; give the job more "
                        "memory, or fewer --workers"
                    ) from error
    return ledger


class _Keeper:
    """Writes rows down as they come, tells the progress, and stops a hopeless job."""

    def __init__(self, ledger: Ledger, job: Bar, survey: Survey, max_failures: int | None) -> None:
        self.ledger, self.job, self.survey = ledger, job, survey
        self.max_failures = max_failures
        self.made = self.bytes = self.bad = self.unwritten = 0

    def take(self, row: Row) -> None:
        self.ledger.add(row, self.survey.sharing(row.key))
        if row.state == "made":
            self.made, self.bytes = self.made + 1, self.bytes + row.bytes
        self.bad += row.state in ("refused", "failed")
        self.unwritten = self.unwritten + 1 if row.state == "failed" else 0
        self.job.advance(note=self._note())
        if self.made in (1, 8, 64):
            self.survey.must_fit(self.bytes / self.made, self.job.total - self.job.done)
        if self.unwritten >= _UNWRITTEN:
            raise UserError(
                f"{self.unwritten} volumes in a row could not be kept, the last one: {row.reason}. "
                "Mend that and call again: what is done is kept"
            )
        if self.max_failures is not None and self.bad > self.max_failures:
            raise UserError(
                f"more than {self.max_failures} volumes could not be used, the last one: "
                f"{row.reason}"
            )

    def _note(self) -> str:
        parts = []
        if self.bytes:
            each = self.bytes / self.made
            parts.append(f"{size_of(each)} each, {size_of(each * self.job.total)} in all")
        if self.bad:
            parts.append(f"{self.bad} left out")
        return ", ".join(parts)


def _rows(
    pipeline: VolumePipeline,
    todo: dict[str, Case],
    every: bool,
    marks: Path | None,
    workers: int | None,
    cluster: str | None,
) -> Iterator[Row]:
    if cluster:
        yield from _on_cluster(pipeline, dict(todo), every, cluster)
        return
    from joblib import Parallel, cpu_count, delayed, parallel_config

    count = min(workers or cpu_count(), len(todo))
    tasks = [delayed(prepare_one)(pipeline, case, key, every, marks) for key, case in todo.items()]
    loky = parallel_config(
        "loky", n_jobs=count, inner_max_num_threads=1, idle_worker_timeout=_IDLE_S
    )
    with loky, _quiet_end():
        jobs = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="4*n_jobs")
        try:
            yield from jobs(tasks)
        except (KeyboardInterrupt, GeneratorExit):
            _stop_workers()
            raise


def _stop_workers() -> None:
    """End the worker processes now; left to themselves they fill the screen with tracebacks."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def _quiet_end() -> Iterator[None]:
    """Without the KeyError of joblib's own thread, which may look for a task that joblib has just
    dropped because of an interruption."""
    tell = threading.excepthook

    def hook(happened: threading.ExceptHookArgs) -> None:
        thread = happened.thread.name if happened.thread else ""
        if not (thread == "ExecutorManagerThread" and happened.exc_type is KeyError):
            tell(happened)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = tell


def _on_cluster(
    pipeline: VolumePipeline, todo: dict[str, Case], every: bool, address: str
) -> Iterator[Row]:
    """The same tasks on the workers of a Dask scheduler, a few per thread at a time. The scheduler
    gives what a dead worker held to another one."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise MissingPackage(
            "--cluster needs Dask: run pip install 'ctfw[cluster]', here and on the workers"
        ) from error
    try:
        client = Client(address, timeout=_ANSWER_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(
                f"the Dask scheduler at {address} has no workers: start some with "
                f"dask worker {address}"
            )
        waiting = iter(todo.items())

        def submit(count: int) -> list[Any]:
            return [
                client.submit(prepare_one, pipeline, case, key, every, pure=False)
                for key, case in islice(waiting, count)
            ]

        running = as_completed(submit(4 * threads))
        for future in running:
            yield future.result()
            running.update(submit(1))


@contextmanager
def _marks(cluster: str | None) -> Iterator[Path | None]:
    """A folder for marks; a Dask cluster repeats by itself what a dead worker held."""
    if cluster:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ctfw-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _died(error: Exception) -> bool:
    """Whether joblib says that a worker process was killed."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    return isinstance(error, (TerminatedWorkerError, BrokenProcessPool))


def _alone(pipeline: VolumePipeline, case: Case, key: str, every: bool) -> Row:
    """Once more, in a process of its own: who dies alone is at fault."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(prepare_one, pipeline, case, key, every).result()
        except BrokenProcessPool:
            reason = (
                f"{case.image}: the process that read it was killed twice; it may need more memory "
                "than there is"
            )
            return Row(case.id, key, "failed", reason, stamp=stamp(case.image))
