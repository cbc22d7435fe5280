"""The page `results/preprocess.md`, made from the recorded runs of each volume."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from _rounds import Run
from _summary import HEAD, markdown, row
from _targets import verdicts

PACKAGES = (
    "ctfw",
    "numpy",
    "nibabel",
    "isal",
    "pydantic",
    "torch",
    "monai",
    "torchio",
    "SimpleITK",
    "scipy",
    "imops",
)
_COMMAND = "python benchmarks/preprocess.py --volume A --volume B --write"


@dataclass(frozen=True)
class Record:
    """All runs on one volume (and on its longer copy), with the circumstances."""

    volume: str
    about: str
    rounds: int
    seed: int
    date: str
    machine: str
    versions: dict[str, str]
    runs: tuple[Run, ...]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1)
        (folder / f"preprocess_{self.volume}.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Record:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        runs = tuple(Run(**{**run, "shape": tuple(run["shape"])}) for run in content.pop("runs"))
        return cls(**content, runs=runs)


def record(volume: str, about: str, rounds: int, seed: int, runs: Sequence[Run]) -> Record:
    """The runs beside today's date, this machine and the versions installed here."""
    return Record(
        volume, about, rounds, seed, date.today().isoformat(), machine(), versions(), tuple(runs)
    )


def machine() -> str:
    """Processor, cores, memory and system; nothing that identifies the machine."""
    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(encoding="utf-8").splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    pages = getattr(os, "sysconf", lambda name: 0)
    memory = pages("SC_PAGE_SIZE") * pages("SC_PHYS_PAGES") / 1e9
    cores = f"{os.cpu_count()} cores"
    return f"{model}, {cores}, {memory:.0f} GB, {platform.system()}, Python {_python()}"


def _python() -> str:
    return platform.python_version()


def versions() -> dict[str, str]:
    """Package -> version of what the rows are made with; only what is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tables(volume: str, runs: Sequence[Run]) -> str:
    """The rows of one volume, then its targets; Markdown."""
    peers = list(dict.fromkeys(run.peer for run in runs if run.volume == volume))
    peers.sort(key=lambda peer: _order(runs, volume, peer))
    parts = [markdown(HEAD, [row(runs, volume, peer) for peer in peers])]
    checked = list(verdicts(runs, volume))
    if checked:
        head = ("volume", "target", "required", "measured", "verdict")
        parts.append(markdown(head, [verdict.cells() for verdict in checked]))
    return "\n\n".join(parts)


def _order(runs: Sequence[Run], volume: str, peer: str) -> float:
    """Fastest first, failures last."""
    times = sorted(r.cpu_s for r in runs if (r.volume, r.peer, r.failure) == (volume, peer, ""))
    return times[len(times) // 2] if times else float("inf")


def page(records: Sequence[Record]) -> str:
    """Everything that was recorded, as one page."""
    parts = [
        f"<!-- Made by `{_COMMAND}` -->",
        "# Preprocessing: measured",
        "One volume from `.nii.gz` to HU, 0.75 x 0.75 x 1.5 mm, clamped to +-1000 HU, divided by "
        "1000, as `.npy` with axes (z, x, y). Each run is a process of its own on one core with "
        "one thread; rounds are interleaved. CPU time is user + system and leaves imports out. "
        "Ratios are medians of the ratios inside each round. What the rows are, "
        "and how to repeat this: [README](../README.md).",
    ]
    for item in records:
        facts = ", ".join(f"{name} {number}" for name, number in item.versions.items())
        parts += [
            f"## Volume {item.volume}",
            f"{item.about} {item.rounds} rounds, seed {item.seed}, {item.date}.\n\n"
            f"Machine: {item.machine}.\n\nVersions: {facts}.",
            tables(item.volume, item.runs),
        ]
    return "\n\n".join(parts) + "\n"


def write_page(folder: Path) -> Path:
    """Make the page anew from every record in `folder`."""
    records = [Record.load(path) for path in sorted(folder.glob("preprocess_*.json"))]
    target = folder / "preprocess.md"
    target.write_text(page(records), encoding="utf-8")
    return target
