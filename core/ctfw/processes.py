"""Several processes that train one model: who this one is, and how they meet. Light until joined.

`ctfw run --nproc` and torchrun tell each process its place by the environment variables RANK,
LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. The main process (rank 0) alone makes folders,
writes status, logs and checkpoints, and speaks. With one process every function here is for free.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from ctfw.errors import UserError
from ctfw.place import is_main, local_rank, number_of, rank, world

__all__ = [
    "first_here_then_others",
    "gather",
    "is_main",
    "joined",
    "local_rank",
    "rank",
    "share",
    "totals",
    "wait",
    "world",
]

T = TypeVar("T")
VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# A process that dies ends the others by itself, so patience costs nothing. In the room they wait
# for a data set that is prepared, or for a checkpoint that is written; in a step, for a slow disk.
IN_THE_ROOM, IN_A_STEP = timedelta(days=14), timedelta(hours=1)
_rooms: list[Any] = []


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes of the job can meet. Raises UserError when the launcher told too
    little."""
    if world() == 1 or _rooms:
        yield
        return
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {world()}, but {', '.join(missing)} is not set: start several "
            "processes with `ctfw run --nproc N`, or with torchrun --nproc-per-node N -m ctfw ..."
        )
    import torch.distributed as dist

    dist.init_process_group(_backend(), timeout=IN_A_STEP)
    _rooms.append(dist.new_group(backend="gloo", timeout=IN_THE_ROOM))
    yield  # after an error the process ends; taking leave of the others could hang
    _rooms.clear()
    dist.destroy_process_group()


def _backend() -> str:
    """NCCL between GPUs where each process of this machine has one, gloo for all else."""
    import torch

    here = number_of("LOCAL_WORLD_SIZE", 1)
    if torch.cuda.is_available() and torch.cuda.device_count() >= here:
        return "cpu:gloo,cuda:nccl"
    return "gloo"


def wait() -> None:
    """Go on when all have come here."""
    if _rooms:
        import torch.distributed as dist

        dist.barrier(group=_rooms[0])


def share(value: T) -> T:
    """What the main process has, in every process."""
    if not _rooms:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, group=_rooms[0])
    return box[0]


def gather(value: T) -> list[T]:
    """What each process has, by rank, in every process."""
    if not _rooms:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value, group=_rooms[0])
    return found


def totals(values: list[float]) -> list[float]:
    """The sum of each number over the processes."""
    if not _rooms:
        return values
    import torch
    import torch.distributed as dist

    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums, group=_rooms[0])
    return [float(value) for value in sums]


def first_here_then_others(work: Callable[[], T]) -> T:
    """Do `work` in the main process, then in the first of every other machine, then in the rest.

    For what is done once and found done afterwards, such as files in a cache that may be one of
    all machines or one of each.
    """
    if not _rooms:
        return work()
    turns = (is_main(), not is_main() and local_rank() == 0, not is_main() and local_rank() > 0)
    result: Any = None
    for mine in turns:
        if mine:
            result = work()
        wait()
    return result
