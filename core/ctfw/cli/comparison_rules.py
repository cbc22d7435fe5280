"""The notes beneath a comparison: what its numbers are, and what they leave out."""

from __future__ import annotations

from ctfw.scoring.comparison import SIGNIFICANT, Compared, Comparison
from ctfw.scoring.randomise import smallest_p
from ctfw.scoring.resample import why_no_interval


def rules(comparison: Comparison, mark: str) -> list[str]:
    """What the numbers are, in the order in which they are read."""
    cases, patients = comparison.cases, comparison.patients
    notes = [
        f"{cases} case{'s' * (cases != 1)} of {patients} patient{'s' * (patients != 1)}; brackets: "
        f"95 % interval, patients resampled {comparison.resamples:,} times",
    ]
    if reason := why_no_interval([str(i) for i in range(patients)]):
        notes.append(f"no intervals: {reason}")
    if comparison.seeds:
        notes.append(
            "several seeds: their mean; its interval and p (Student's t) hold the variance between "
            "seeds and between patients"
        )
    if any(len(s.contrasts) and not _seeded(comparison, s) for s in comparison.systems):
        notes.append(
            f"p: two-sided, {comparison.trials:,} random exchanges of the two systems' reports, "
            "all of a patient together"
        )
        least = smallest_p(patients, comparison.trials)
        if least * comparison.tests >= SIGNIFICANT:
            notes.append(
                f"too few patients to show a difference: no p below {least:.2g} is possible, and "
                "the adjustment makes it larger"
            )
    number = comparison.tests
    notes.append(
        f"in parentheses: p adjusted for the {number} difference{'s' * (number != 1)} of this "
        "table (Holm)"
    )
    if comparison.best:
        notes.append(
            f"{mark}: best value, where its difference to the next best has p < {SIGNIFICANT} (one "
            "test per score, Holm)"
        )
    notes += _lost(comparison)
    protocols: dict[str, list[str]] = {}
    for column in comparison.columns:
        protocols.setdefault(column.protocol, []).append(column.label)
    return notes + [f"{', '.join(labels)}: {name}" for name, labels in protocols.items()]


def _seeded(comparison: Comparison, system: Compared) -> bool:
    """Whether a system or the baseline has several seeds, so that its p is that of Student's t."""
    pair = (system, comparison.systems[0])
    return any(mean.seeds > 1 for each in pair for mean in each.means.values())


def _lost(comparison: Comparison) -> list[str]:
    """Resamples and exchanges in which a number is undefined."""
    notes = []
    for column in comparison.columns:
        means = [system.means[column.name] for system in comparison.systems]
        contrasts = [s.contrasts[column.name] for s in comparison.systems if s.contrasts]
        lost = [mean.undefined for mean in means] + [found.undefined for found in contrasts]
        resamples = max(lost)
        trials = max((found.untested for found in contrasts), default=0)
        if comparison.patients > 1 and resamples:
            notes.append(
                f"{column.label}: undefined in up to {resamples:,} of {comparison.resamples:,} "
                "resamples, which the intervals leave out"
            )
        if trials:
            notes.append(
                f"{column.label}: undefined in up to {trials:,} of {comparison.trials:,} "
                "exchanges, which p leaves out"
            )
    return notes
