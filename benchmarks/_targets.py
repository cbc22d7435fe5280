"""What ctfw must reach, and whether it did. Where the numbers come from: benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from _rounds import Run
from _summary import median_mib, ratios

LIMIT, OWN = "gunzip-write", "ctfw"
AT_MOST_OF_LIMIT = 1.9
WORKER_MIB = {"A": 75.0, "B": 100.0}
GROWTH_MIB = 2.0

# peer: (CPU time, peak memory), each at least so many times that of ctfw
AT_LEAST: dict[str, dict[str, tuple[float, float]]] = {
    "A": {
        "ctclip-script": (4.0, 35),
        "ctclip-data": (4.5, 40),
        "monai": (9, 45),
        "torchio": (9, 22),
        "scipy": (11, 11),
        "simpleitk-plain": (3.0, 14),
        "simpleitk-best": (2.2, 9),
        "torch-isal": (1.6, 10),
        "imops-isal": (1.6, 10),
    },
    "B": {
        "ctclip-script": (4.5, 120),
        "ctclip-data": (4.0, 110),
        "monai": (6, 80),
        "torchio": (8, 55),
        "scipy": (5, 35),
        "simpleitk-plain": (2.2, 50),
        "simpleitk-best": (1.5, 17),
    },
}


@dataclass(frozen=True)
class Verdict:
    """One target beside what was measured. `measured` is None when a row is missing."""

    volume: str
    what: str
    required: str
    measured: float | None
    met: bool
    unit: str = "x"

    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        if self.measured is None:
            return self.volume, self.what, self.required, "-", "not measured"
        shown = f"{self.measured:.2f}x" if self.unit == "x" else f"{self.measured:.1f} {self.unit}"
        return self.volume, self.what, self.required, shown, "met" if self.met else "**missed**"


def verdicts(runs: Sequence[Run], volume: str) -> Iterator[Verdict]:
    """Every target of a volume; none for one without targets, or without a run of ctfw."""
    if not any(run.volume == volume and run.peer == OWN for run in runs):
        return
    for peer, (time, memory) in AT_LEAST.get(volume, {}).items():
        yield _ratio(runs, volume, peer, "cpu_s", time, f"CPU time of {peer} / {OWN}")
        yield _ratio(runs, volume, peer, "peak_mib", memory, f"peak memory of {peer} / {OWN}")
    if volume not in WORKER_MIB:
        return
    over = ratios(runs, volume, OWN, LIMIT, "cpu_s")
    measured = over.median if over else None
    met = measured is not None and measured <= AT_MOST_OF_LIMIT
    what = f"CPU time of {OWN} / {LIMIT}"
    yield Verdict(volume, what, f"<= {AT_MOST_OF_LIMIT:g}x", measured, met)
    yield _below(volume, f"peak memory of {OWN}", WORKER_MIB[volume], median_mib(runs, volume, OWN))
    if volume == "A":
        one, two = (median_mib(runs, name, OWN) for name in ("A", "A600"))
        grown = two - one if one is not None and two is not None else None
        yield _below(volume, f"more memory of {OWN} at 600 slices than at 300", GROWTH_MIB, grown)


def _ratio(
    runs: Sequence[Run], volume: str, peer: str, field: str, at_least: float, what: str
) -> Verdict:
    found = ratios(runs, volume, peer, OWN, field)
    measured = found.median if found else None
    met = measured is not None and measured >= at_least
    return Verdict(volume, what, f">= {at_least:g}x", measured, met)


def _below(volume: str, what: str, most: float, measured: float | None) -> Verdict:
    met = measured is not None and measured <= most
    return Verdict(volume, what, f"<= {most:g} MiB", measured, met, unit="MiB")
