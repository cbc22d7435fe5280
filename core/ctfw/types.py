"""The values that components pass to each other. Light: numpy only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.steps import LossTerms as LossTerms
from ctfw.steps import StepOutput as StepOutput

if TYPE_CHECKING:
    from ctfw.scoring.evidence import Evidence

HU = "hu"
RAW = "raw"
NORMALISED = "normalised"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was decided about a volume, with the evidence in words."""

    step: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Volume:
    """A CT volume, or the slices chosen from one.

    array         (z, y, x); X-ray studies have one view per z
    affine        4x4, voxel index (x, y, z, 1) -> millimetres in RAS+; the index order is the
                  reverse of the array's axes, as in NIfTI
    intensity     "hu", "raw" (rescale not yet applied), "normalised" or "unknown"
    provenance    every decision taken so far, oldest first
    positions_mm  (z,) distance of each slice along the scan axis when the slices are not evenly
                  spaced (after slice selection); None where the affine says it all

    A step that changes the grid changes the affine.
    """

    array: np.ndarray
    affine: np.ndarray
    intensity: str = UNKNOWN
    provenance: tuple[Decision, ...] = ()
    positions_mm: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"a volume has 3 axes (z, y, x), not {self.array.ndim}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"an affine is 4x4, not {self.affine.shape}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (z, y, x)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Physical size of the block of voxels along (z, y, x)."""
        z, y, x = (n * step for n, step in zip(self.array.shape, self.spacing_mm, strict=True))
        return z, y, x

    @property
    def slice_positions_mm(self) -> np.ndarray:
        """(z,) millimetres of each slice along the scan axis; strictly monotonic."""
        if self.positions_mm is not None:
            return self.positions_mm
        return np.arange(self.array.shape[0]) * self.spacing_mm[0]

    @property
    def orientation(self) -> str:
        """Where the x, y and z index grow to, e.g. `LPS`."""
        return orientation_of(self.affine)

    def but(self, **changes: Any) -> Volume:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def noting(self, step: str, text: str, **values: Any) -> Volume:
        """A copy whose provenance has one more decision."""
        return replace(self, provenance=(*self.provenance, Decision(step, text, values)))


def orientation_of(affine: np.ndarray) -> str:
    """Where the x, y and z index grow to, e.g. `LPS`; the nearest axis where it is oblique."""
    letters = ("RL", "AP", "SI")  # of RAS+: positive is R, A, S
    code = ""
    for column in affine[:3, :3].T:
        axis = int(np.argmax(np.abs(column)))
        code += letters[axis][0 if column[axis] > 0 else 1]
    return code


@dataclass(frozen=True, slots=True)
class Lesion:
    """A finding with a place. `centre_mm` is (x, y, z) in RAS+; `slices` are z of the file."""

    label: str
    centre_mm: tuple[float, float, float]
    size_mm: float
    slices: tuple[int, ...] = ()
    side: str = ""


@dataclass(frozen=True)
class Case:
    """A study with its report, labels and patient.

    image    the file or folder that a volume loader reads
    views    the files of an X-ray study, one per view; each passes the preprocessing by itself and
             the results are stacked along z. Empty for a CT, whose `image` is the whole study
    report   the text that a model should write (which sections: the data set's settings say)
    labels   (L,) int8 of 0 and 1 in the order of the table's `label_names`, or None
    mask     NIfTI on the image's grid, int32 bit field: bit l is set where label l is, or None
    hints    what the data set knows about the file, e.g. RescaleSlope from a CSV or `intensity`
    """

    id: str
    patient: str
    image: Path
    report: str
    split: str = ""
    study: str = ""
    findings: str = ""
    impression: str = ""
    labels: np.ndarray | None = None
    lesions: tuple[Lesion, ...] = ()
    mask: Path | None = None
    views: tuple[Path, ...] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseTable(Sequence[Case]):
    """Cases of one split, with the label set they are labelled in."""

    cases: tuple[Case, ...]
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __getitem__(self, index: Any) -> Any:
        return (
            CaseTable(self.cases[index], self.label_names)
            if isinstance(index, slice)
            else (self.cases[index])
        )

    @cached_property
    def by_id(self) -> dict[str, Case]:
        return {case.id: case for case in self.cases}

    @cached_property
    def labels(self) -> np.ndarray:
        """(N, L) int8. Raises ValueError when a case has no labels."""
        missing = [case.id for case in self.cases if case.labels is None]
        if missing:
            raise ValueError(f"{len(missing)} cases have no labels, the first is {missing[0]!r}")
        rows = [np.asarray(case.labels, dtype=np.int8) for case in self.cases]
        return np.stack(rows) if rows else np.zeros((0, len(self.label_names)), np.int8)

    @property
    def patients(self) -> list[str]:
        """(N,) patient of each case."""
        return [case.patient for case in self.cases]

    @property
    def reports(self) -> list[str]:
        return [case.report for case in self.cases]

    def fingerprint(self) -> str:
        """Hash of ids, patients, splits, reports and labels: the identity of the data used."""
        digest = hashlib.sha256("|".join(self.label_names).encode())
        for case in self.cases:
            labels = b"" if case.labels is None else np.asarray(case.labels, np.int8).tobytes()
            for part in (case.id, case.patient, case.split, case.report):
                digest.update(part.encode() + b"\0")
            digest.update(labels)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Negative:
    """An image that the anchor's report does not describe.

    case       another patient's case, whose image it is
    transform  or a function of the anchor's own preprocessed volume
    graft      or a function of (the anchor's volume, the volume of `case`), e.g. a region of one
               in the other; `case` is then the donor
    note       logged, e.g. the label distance or how often the rule was relaxed
    shows      (L,) labels that the image shows, in the order of the table's `label_names`; None:
               those of `case`. They decide which sentences of the anchor's report conflict
    mirrored   left and right are exchanged: sentences that name one side conflict, whatever the
               labels say
    """

    case: Case | None = None
    transform: Callable[[Volume], Volume] | None = None
    note: Mapping[str, float | str] = field(default_factory=dict)
    graft: Callable[[Volume, Volume], Volume] | None = None
    shows: np.ndarray | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        if (self.case is None) == (self.transform is None):
            raise ValueError("a Negative is either another case or a transform of the anchor")
        if self.graft is not None and self.case is None:
            raise ValueError("a graft takes a region from another case: give the Negative a case")

    @property
    def labels(self) -> np.ndarray | None:
        """(L,) what the image shows; None where nobody knows."""
        if self.shows is not None or self.case is None:
            return self.shows
        return self.case.labels


@dataclass(frozen=True)
class Prediction:
    """One generated report beside its reference.

    labels, reference_labels  (L,) int8 from one labeler on both texts (or the data set's)
    evidence, reference_evidence  sentences that mention a label, stated or denied; None where the
                              labeler gives no evidence
    finish                    "stop" (end of turn) or "length" (cut at max_new_tokens)
    """

    case: str
    patient: str
    generated: str
    reference: str
    labels: np.ndarray | None = None
    reference_labels: np.ndarray | None = None
    finish: str = "stop"
    evidence: tuple[Evidence, ...] | None = None
    reference_evidence: tuple[Evidence, ...] | None = None


@dataclass(frozen=True)
class Scores:
    """The result of a metric on N predictions.

    values      name -> number, e.g. {"bleu-1": .., "bleu-4": ..}; NaN where undefined
    per_case    name -> (N,) where a case has a value of its own
    protocol    the signature: tokeniser|case|level|smoothing|...; a number without it is not
                shown, so an empty one raises ValueError
    lower_is_better, without_direction  names of values in which less is more, and of values in
                which neither is, such as a length
    statistics  (N, K) additive per-case sufficient statistics, and
    reduce      (..., K) sums -> name -> (...): the same values from any weighted sum of rows, so
                that resampling is one matrix product. None: `per_case` is averaged instead
    notes       facts to print beside the numbers, e.g. labels left out
    """

    values: Mapping[str, float]
    protocol: str
    per_case: Mapping[str, np.ndarray] = field(default_factory=dict)
    statistics: np.ndarray | None = None
    reduce: Callable[[np.ndarray], Mapping[str, np.ndarray]] | None = None
    notes: tuple[str, ...] = ()
    lower_is_better: frozenset[str] = frozenset()
    without_direction: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.protocol.strip():
            raise ValueError(f"scores without a protocol: {', '.join(self.values)}")
