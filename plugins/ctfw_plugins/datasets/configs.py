"""Settings of the built-in data sets."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ctfw.config import Local, MustExist, Strict
from ctfw.data_settings import DatasetConfig
from ctfw.errors import did_you_mean
from ctfw.labels import CT_RATE_LABELS

Sections = Literal["findings", "findings+impression"]
Blank = Literal["error", "negative"]
Uncertain = Literal["error", "negative", "positive"]
TableFile = Annotated[Path, Local(), MustExist("file")]
Root = Annotated[Path, Local(), MustExist("folder")]
Share = Annotated[float, Field(ge=0, lt=1)]


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError for a label set with a name twice, or with an empty one."""
    if len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise ValueError("name each label once, and none with an empty name")
    return names


class PhantomConfig(DatasetConfig):
    """Synthetic chest CTs with planted findings."""

    root: Annotated[Path | None, Local()] = Field(
        None, description="folder of the images; null: one in the cache, named by the settings"
    )
    seed: int = Field(0, ge=0, description="decides every image and every text")
    train: int = Field(560, ge=0, description="studies in the training split")
    validation: int = Field(80, ge=0, description="studies in the validation split")
    test: int = Field(128, ge=0, description="studies in the test split")
    max_studies: int = Field(3, ge=1, le=26, description="most studies of one patient")
    spacing_mm: float = Field(3.0, ge=0.5, le=6, description="voxel size, the same on each axis")
    labels: tuple[str, ...] = Field(
        CT_RATE_LABELS, description="labels that may be planted; the others are always negative"
    )
    positives_per_case: float = Field(
        3.5, gt=0, description="mean number of positive labels; at most half of those planted"
    )
    style: Literal["full", "short"] = Field(
        "full",
        description="full: all 18 labels, about 200 words; short: planted ones, 5 words each",
    )
    sections: Sections = Field("findings+impression", description="what the model should write")
    workers: Annotated[int | None, Local()] = Field(
        None, ge=1, description="processes that draw phantoms; null: one per core"
    )

    @field_validator("labels")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in CT_RATE_LABELS:
                hint = did_you_mean(name, CT_RATE_LABELS)
                close = f"; {hint}" if hint else ""
                raise ValueError(f"{name!r} is not one of the 18 CT-RATE labels{close}")
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one label, and each one once")
        return value


class CTRateConfig(DatasetConfig):
    """CT-RATE, or a data set in the same folders and tables."""

    root: Annotated[Path, Local()] = Field(
        description="the folder that holds train_fixed/ or train/, and the CSV folders"
    )
    version: Literal["auto", "fixed", "v1"] = Field(
        "auto", description="fixed: *_fixed folders, HU; v1: raw values; auto: fixed if there"
    )
    reconstructions: Literal["first", "all"] = Field(
        "first", description="first: one volume per scan; all: each reconstruction is a case"
    )
    sections: Sections = Field("findings+impression", description="what the model should write")
    validation_share: float = Field(
        0.05, gt=0, lt=1, description="share of the training patients held out for validation"
    )
    limit: int | None = Field(
        None, ge=1, description="most cases per split, in the order of the table; null: all"
    )


class TableColumns(Strict):
    """Names of a table's columns; those that are not given are found by their usual names."""

    image: str | None = Field(None, description="file or DICOM folder of the scan")
    report: str | None = Field(None, description="the whole report")
    findings: str | None = Field(None, description="findings section")
    impression: str | None = Field(None, description="impression section")
    labels: str | list[str] | None = Field(
        None,
        description="a list: one column per label, 0 or 1, in the order of the label set; one "
        "name: a column that names the positive labels (a list, or separated by ; | or ,)",
    )
    patient: str | None = Field(None, description="patient; decides who is in which split")
    study: str | None = Field(None, description="examination")
    id: str | None = Field(
        None, description="name of the case; without one, the image's name without its ending"
    )
    split: str | None = Field(None, description="train, validation or test (val, dev, ... too)")
    slope: str | None = Field(None, description="rescale slope of raw values")
    intercept: str | None = Field(None, description="rescale intercept of raw values")
    spacing: str | None = Field(None, description="voxel spacing in mm: `[x, y, z]` or `x y z`")
    intensity: str | None = Field(None, description="`hu` or `raw`, where it is known")


class SplitFiles(Strict):
    """One table per split."""

    train: TableFile = Field(description="table of the training split")
    validation: TableFile | None = Field(
        None, description="table of the validation split; null: held out from train by patient"
    )
    test: TableFile = Field(description="table of the test split")


class TableConfig(DatasetConfig):
    """Anybody's scans: a table with a row per scan that gives its file and its report."""

    file: Annotated[Path | SplitFiles, Local()] = Field(
        description="the table: .csv, .tsv, .json, .jsonl (each also .gz) or .parquet; or one per "
        "split, {train: .., validation: .., test: ..}"
    )
    root: Root | None = Field(
        None, description="folder that relative image paths start from; null: the table's own"
    )
    suffix: str = Field("", description="ending to add to every image name, such as .nii.gz")
    columns: TableColumns = Field(
        default_factory=lambda: TableColumns(), description="which column holds what"
    )
    sections: Literal["auto", "report", "findings", "findings+impression"] = Field(
        "auto",
        description="what the model should write; auto: the report column where there is one, "
        "else findings and impression",
    )
    labels: tuple[str, ...] | None = Field(
        None, description="the label set; null: the columns of `columns.labels`, or no labels"
    )
    blank_labels: Blank = Field("error", description="what an empty label cell means")
    uncertain_labels: Uncertain = Field("error", description="what a label of -1 means")
    empty_reports: Literal["error", "leave-out"] = Field(
        "error", description="what is done with a row that has no report"
    )
    validation_share: Share = Field(
        0.1, description="share of the patients, where the table names no validation split"
    )
    test_share: Share = Field(
        0.2, description="share of the patients, where the table names no split at all"
    )
    allow_patient_overlap: bool = Field(
        False, description="accept that a patient is in two splits; scores then mean little"
    )
    encoding: str = Field("utf-8", description="of a text table, e.g. utf-16 or cp1252")
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="of a CSV; null: , ; tab or |, by its header"
    )
    limit: int | None = Field(
        None, ge=1, description="most cases per split, in the order of the table; null: all"
    )

    @field_validator("encoding")
    @classmethod
    def _codec(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"{value!r} is no text encoding; try utf-8, utf-16, cp1252") from None
        return value

    @field_validator("labels")
    @classmethod
    def _once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value if value is None else _unique(value)

    @model_validator(mode="after")
    def _together(self) -> TableConfig:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        told = self.columns.labels
        if isinstance(told, str) and not self.labels:
            raise ValueError(
                "columns.labels is one column of names: give the label set as `labels: [...]`"
            )
        if isinstance(told, list) and self.labels and len(told) != len(self.labels):
            raise ValueError(
                f"columns.labels has {len(told)} columns and labels {len(self.labels)} names"
            )
        return self

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label set: `labels`, else the names of the label columns."""
        told = self.columns.labels
        return self.labels or (tuple(told) if isinstance(told, list) else ())


class AmosMMConfig(DatasetConfig):
    """AMOS-MM: CT of chest, abdomen and pelvis with findings by region."""

    root: Root = Field(description="the folder that holds dataset.json and imagesTr/")
    annotation: Annotated[Path, Local()] = Field(
        Path("dataset.json"), description="the JSON file, below `root` or absolute"
    )
    regions: tuple[Literal["chest", "abdomen", "pelvis"], ...] = Field(
        ("chest",), min_length=1, description="whose findings make the report, in this order"
    )
    sections: Sections = Field(
        "findings", description="what the model should write; not every case has an impression"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of the training patients held out for validation"
    )
    limit: int | None = Field(
        None, ge=1, description="most cases per split, in the order of the file; null: all"
    )

    @field_validator("regions")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("name each region once")
        return value


class XrayConfig(DatasetConfig):
    """X-ray studies in the annotation file of R2Gen: {train, val, test: [{id, report, ..}]}."""

    root: Root = Field(description="the folder that holds the annotation file and images/")
    annotation: Annotated[Path, Local()] = Field(
        Path("annotation.json"), description="the JSON file, below `root` or absolute"
    )
    views: Literal["first", "all"] = Field(
        "all", description="all: every view of a study, one slice each; first: the first alone"
    )
    labels_file: TableFile | None = Field(
        None, description="table of labels, a row per id or study_id; null: no labels"
    )
    labels: tuple[str, ...] = Field((), description="the label set: columns of `labels_file`")
    blank_labels: Blank = Field(
        "error", description="what an empty label cell means (CheXpert: not mentioned)"
    )
    uncertain_labels: Uncertain = Field(
        "error", description="what a label of -1 means (CheXpert: uncertain)"
    )
    allow_patient_overlap: bool = Field(
        False, description="accept that a patient is in two splits; scores then mean little"
    )
    limit: int | None = Field(
        None, ge=1, description="most cases per split, in the order of the file; null: all"
    )

    @model_validator(mode="after")
    def _labels_with_file(self) -> XrayConfig:
        _unique(self.labels)
        if (self.labels_file is None) != (not self.labels):
            raise ValueError("give labels_file and labels together, or neither")
        return self


class IUXrayConfig(XrayConfig):
    """IU X-Ray: a folder per study, frontal and lateral view."""


class MimicCXRConfig(XrayConfig):
    """MIMIC-CXR: one image per entry."""

    views: Literal["first", "all"] = Field(
        "first", description="first: the first view alone; all: every view, one slice each"
    )
