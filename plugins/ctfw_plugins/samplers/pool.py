"""Labelled cases grouped by label code, so that a search looks at codes and not at cases.

CT-RATE's training split has some 50,000 cases and a few thousand different label vectors. Codes
are ordered by *burden*, the number of positive labels, because burdens alone bound a distance:
vectors of L labels with a and p positives differ in min(a + p, 2L - a - p) labels at most. Those
who may differ enough from an anchor therefore lie side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ctfw.types import CaseTable
from ctfw_plugins.samplers.codes import pack


class Anchor(NamedTuple):
    """Whom a partner is sought for.

    word     (W,) its labels, see `codes.pack`
    burden   number of its positive labels
    patient  its patient's number, -1 for one who has no case in the pool
    code     its code's number, -1 for a case outside the pool
    """

    word: np.ndarray
    burden: int
    patient: int
    code: int = -1


class LabelPool:
    """N cases with U different codes; nothing in it changes.

    packed     (N, W) the labels as words, see `codes.pack`
    burden     (N,) number of positive labels
    patient    (N,) which patient a case is of
    code       (N,) which code a case has
    words      (U, W) the codes, ordered by burden
    first_code (L + 2,) how many codes have less than 0, 1, ... L + 1 positive labels
    members    (N,) cases ordered by code; those of code u are members[start[u]:start[u + 1]]
    pair       (N,) which pair of a patient and a code a case has
    pair_code  (number of pairs,) the code of a pair; pairs are ordered by patient, then by code
    """

    def __init__(self, cases: CaseTable) -> None:
        labels = cases.labels
        self.labels = labels.shape[1]
        self.packed = pack(labels)
        self.burden = labels.sum(1, dtype=np.int32)
        self._number_codes()
        self._number_patients(cases.patients)

    def __len__(self) -> int:
        return len(self.code)

    def anchor(self, case: int) -> Anchor:
        """A case of the pool."""
        return Anchor(
            self.packed[case], int(self.burden[case]), int(self.patient[case]), int(self.code[case])
        )

    def stranger(self, labels: np.ndarray, patient: str) -> Anchor:
        """A case outside the pool, with its (L,) labels."""
        return Anchor(pack(labels[None])[0], int(labels.sum()), self._patients.get(patient, -1))

    def burdens(self, burden: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the most positive labels, from -1 to L + 1, of a vector that differs in
        `reach` labels from one with `burden`; the least is above the most where none can."""
        least = np.clip(reach - burden, 0, self.labels + 1)
        return least, np.clip(2 * self.labels - reach - burden, -1, self.labels)

    def burdens_of(self, burden: int, reach: int) -> tuple[int, int]:
        """`burdens` of one anchor."""
        return self._burdens[burden][reach]

    def pairs_of(self, patient: int) -> slice:
        """Where the pairs of a patient stand; empty for -1."""
        return slice(0, 0) if patient < 0 else slice(*self._first_pair[patient : patient + 2])

    def _number_codes(self) -> None:
        width = self.packed.shape[1]
        rows = self.packed[:, 0] if width == 1 else self.packed.view(f"V{8 * width}")[:, 0]
        _, first, code = np.unique(rows, return_index=True, return_inverse=True)
        order = np.argsort(self.burden[first], kind="stable")
        self.code = np.argsort(order).astype(np.int32)[code]
        self.words = self.packed[first][order]
        self.first_code = np.searchsorted(self.burden[first][order], np.arange(self.labels + 2))
        grid = np.arange(self.labels + 1)
        self._burdens = np.stack(self.burdens(grid[:, None], grid), -1).tolist()
        self.members = np.argsort(self.code, kind="stable").astype(np.int32)
        self.start = np.searchsorted(self.code[self.members], np.arange(len(first) + 1))

    def _number_patients(self, names: list[str]) -> None:
        self._patients: dict[str, int] = {}
        numbers = [self._patients.setdefault(name, len(self._patients)) for name in names]
        self.patient = np.array(numbers, np.int32)
        codes = len(self.words)
        keys, pair = np.unique(
            self.patient.astype(np.int64) * codes + self.code, return_inverse=True
        )
        self.pair, self.pair_code = pair.astype(np.int32), keys % codes
        owners = np.arange(len(self._patients) + 1) * codes
        self._first_pair = np.searchsorted(keys, owners).tolist()
