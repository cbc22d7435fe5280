"""One peer, one volume, in this process alone: `python _one_run.py REQUEST.json`.

The request names the peer, the file and where to write; the answer is put beside it. Imports are
measured apart from the work. The result is looked at after the clock has stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main(request_file: Path) -> None:
    """Do what the request says. Whatever fails is for the parent to read from stderr."""
    request = json.loads(request_file.read_text(encoding="utf-8"))
    if request["core"] is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {request["core"]})
    folder = Path(request["folder"])
    answer = _measured(request, folder)
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _measured(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    from _peers import PEERS
    from _work import Source

    source = Source(**{**request["source"], "path": Path(request["source"]["path"])})
    work = PEERS[request["peer"]]()
    answer: dict[str, Any] = {"import_s": time.process_time(), "import_mib": peak_mib()}
    wall, cpu = time.perf_counter(), time.process_time()
    work(source, folder)
    answer["cpu_s"] = time.process_time() - cpu
    answer["wall_s"] = time.perf_counter() - wall
    answer["peak_mib"] = peak_mib()
    return answer | written(folder)


def peak_mib() -> float:
    """Peak resident memory of this process so far, in MiB.

    Linux' VmHWM is of this program alone; ru_maxrss also remembers the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def written(folder: Path) -> dict[str, Any]:
    """What lies in `folder`: shape, type, finiteness, range and 6 x 6 x 6 means of the array.

    Raises ValueError unless there is one C-ordered array with three axes.
    """
    import numpy as np
    from _picture import of_array

    files = sorted(folder.rglob("*.npy"))
    if len(files) != 1:
        raise ValueError(f"{len(files)} arrays were written instead of one")
    array = np.load(files[0], mmap_mode="r", allow_pickle=False)
    if array.ndim != 3 or not array.flags.c_contiguous:
        raise ValueError(f"an array of shape {array.shape}, not a C-ordered volume, was written")
    parts = [array[start : start + 32] for start in range(0, len(array), 32)]
    low, high = (float(f([f(part) for part in parts])) for f in (np.min, np.max))
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "range": [low, high],
        "finite": bool(np.isfinite([low, high]).all()),
        "picture": of_array(array),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
