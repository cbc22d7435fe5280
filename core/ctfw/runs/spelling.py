"""Ids of cases that are spelt otherwise: `valid_1_a_1` is `valid_1_a_1.nii.gz`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ctfw.runs.systems import Source
from ctfw.scoring.predictions import bare

T = TypeVar("T")


def like(first: Source, other: Source) -> Source:
    """`other` with its cases under the ids of `first`, where they differ in folder and extension.

    An id that several cases of one side share without folder and extension is left as it is. The
    predictions keep their own ids inside, by which a data set finds its cases.
    """
    spelt = spelling(list(other.predictions), list(first.predictions))
    if not spelt:
        return other
    return replace(
        other,
        predictions=_renamed(other.predictions, spelt),
        another=_renamed(other.another, spelt),
        per_case={name: _renamed(column, spelt) for name, column in other.per_case.items()},
    )


def spelling(cases: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Id of `cases` -> the one of `known` that it means; ids that are the same are not listed."""
    there = set(known)
    times = Counter(map(bare, cases))
    named = Counter(map(bare, known))
    of = {bare(case): case for case in known}
    return {
        case: of[short]
        for case in cases
        if case not in there and times[short := bare(case)] == named[short] == 1
    }


def _renamed(values: Mapping[str, T], spelt: Mapping[str, str]) -> dict[str, T]:
    return {spelt.get(case, case): value for case, value in values.items()}
