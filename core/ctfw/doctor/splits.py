"""How large the splits are, and who is in two of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, Rows, count, note, ok, problem

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.types import CaseTable

ADVICE = (
    "scores on patients that were trained on mean little: split by patient, so that nobody is in "
    "two splits"
)


def check(scene: Scene) -> Iterator[Finding]:
    """Cases, studies and patients per split; patients in two splits; splits of one patient."""
    yield note("cases per split", table=_sizes(scene.tables), cases=_counts(scene.tables))
    yield from _lonely(scene.tables)
    shared = in_two_splits({s: table.patients for s, table in scene.tables.items()})
    if shared:
        names = [f"{name} ({' and '.join(splits)})" for name, splits in shared.items()]
        text = f"{count(len(shared), 'patient is', 'patients are')} in two splits"
        yield problem(text, names, ADVICE, patients=len(shared))
        return
    everyone = [case.patient for case in scene.cases]
    if len(everyone) > 1 and len(set(everyone)) == len(everyone):
        yield note(
            "every case has a patient of its own",
            advice="where the data set does not say whose a scan is, a patient in two splits "
            "cannot be seen",
        )
    else:
        yield ok("no patient is in two splits")


def _lonely(tables: dict[str, CaseTable]) -> Iterator[Finding]:
    """Splits in which no scan can be swapped for another patient's."""
    for split in ("validation", "test"):
        if split in tables and len(set(tables[split].patients)) < 2:
            yield problem(
                f"all cases of {split} are of one patient",
                advice="ctfw swaps scans between patients to see whether the model looks at them: "
                "two patients at least",
            )


def in_two_splits(members: dict[str, list[str]]) -> dict[str, list[str]]:
    """Whoever stands in more than one split -> those splits."""
    seen: dict[str, list[str]] = {}
    for split, names in members.items():
        for name in dict.fromkeys(names):
            seen.setdefault(name, []).append(split)
    return {name: splits for name, splits in seen.items() if len(splits) > 1}


def _counts(tables: dict[str, CaseTable]) -> dict[str, dict[str, int]]:
    return {
        split: {
            "cases": len(table),
            "studies": len({case.study or case.id for case in table}),
            "patients": len(set(table.patients)),
        }
        for split, table in tables.items()
    }


def _sizes(tables: dict[str, CaseTable]) -> Rows:
    rows = [
        (split, *(f"{number:,}" for number in facts.values()))
        for split, facts in _counts(tables).items()
    ]
    return (("split", "cases", "studies", "patients"), *rows)
