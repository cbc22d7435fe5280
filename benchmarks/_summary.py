"""Runs to rows: medians, extremes, and ratios taken inside each round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from _rounds import Run


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        return cls(median(numbers), min(numbers), max(numbers))


def good(runs: Iterable[Run], volume: str, peer: str) -> list[Run]:
    """The runs of one peer on one volume that did the work."""
    return [r for r in runs if r.volume == volume and r.peer == peer and not r.failure]


def median_mib(runs: Sequence[Run], volume: str, peer: str) -> float | None:
    """Median over rounds of the peak memory in MiB; None without a good run."""
    found = good(runs, volume, peer)
    return median(run.peak_mib for run in found) if found else None


def ratios(runs: Sequence[Run], volume: str, peer: str, base: str, field: str) -> Spread | None:
    """Spread over rounds of `field` of `peer` / that of `base` in the same round.

    The speed of a shared machine drifts by tens of percent between rounds and little within one.
    None when no round has both.
    """
    bases = {run.round: getattr(run, field) for run in good(runs, volume, base)}
    found = [
        getattr(run, field) / bases[run.round]
        for run in good(runs, volume, peer)
        if run.round in bases
    ]
    return Spread.of(found) if found else None


HEAD = (
    "who",
    "CPU s: median (min - max)",
    "CPU time / ctfw",
    "peak MiB",
    "peak memory / ctfw",
    "wall s",
    "imports: CPU s",
    "imports: MiB",
    "runs",
)


def row(runs: Sequence[Run], volume: str, peer: str) -> tuple[str, ...]:
    """One peer's cells under `HEAD`; a peer without a good run says why."""
    found = good(runs, volume, peer)
    tried = [r for r in runs if r.volume == volume and r.peer == peer]
    if not found:
        why = tried[0].failure if tried else "not run"
        return (peer, f"failed: {why}", *[""] * (len(HEAD) - 3), f"0 of {len(tried)}")
    cpu = Spread.of([run.cpu_s for run in found])
    faster, smaller = (ratios(runs, volume, peer, "ctfw", f) for f in ("cpu_s", "peak_mib"))
    middle = _median_of(found)
    count = f"{len(found)} of {len(tried)}" if len(found) < len(tried) else str(len(found))
    return (
        peer,
        f"**{cpu.median:.2f}** ({cpu.low:.2f} - {cpu.high:.2f})",
        f"{faster.median:.2f}" if faster else "-",
        f"{middle(lambda run: run.peak_mib):.0f}",
        f"{smaller.median:.1f}" if smaller else "-",
        f"{middle(lambda run: run.wall_s):.2f}",
        f"{middle(lambda run: run.import_s):.2f}",
        f"{middle(lambda run: run.import_mib):.0f}",
        count,
    )


def _median_of(runs: Sequence[Run]) -> Callable[[Callable[[Run], float]], float]:
    return lambda value: median(value(run) for run in runs)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a `|` inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
