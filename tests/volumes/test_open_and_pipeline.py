"""A path becomes a preprocessed volume; what is on disk already is not computed again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.component import Block, Component
from ctfw.errors import NotCT, UnreadableVolume, UserError
from ctfw.types import Case, Volume
from ctfw.volumes.open import open_slices, open_volume
from ctfw.volumes.pipeline import VolumePipeline, spec_of
from ctfw_plugins.preprocess.configs import (
    HuWindowConfig,
    PreprocessedConfig,
    PreprocessedNumpyConfig,
    RescaleHuConfig,
    SlicesConfig,
)
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.preprocessed import Preprocessed
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.preprocess.slices import Slices

Write = Callable[..., Path]


class Counted:
    """A step that adds 1 and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        self.calls += 1
        return volume.but(array=volume.array + 1).noting("counted", "added 1")


@pytest.fixture
def chain(tmp_path: Path, loaders: Any) -> Callable[..., tuple[VolumePipeline, Counted, Counted]]:
    def build(early: str = "a", late: str = "b") -> tuple[VolumePipeline, Counted, Counted]:
        first, second = Counted(), Counted()
        near = Preprocessed(PreprocessedConfig(folder=tmp_path / "nii"))
        far = PreprocessedNumpy(PreprocessedNumpyConfig(folder=tmp_path / "npy", dtype="float32"))
        load = partial(open_slices, loaders=loaders)
        steps = [first, near, second, far]
        return VolumePipeline(load, steps, [early, "near", late, "far"]), first, second

    return build


def test_second_pass_starts_at_the_last_store(
    chain: Any, write_nifti: Write, chest: np.ndarray
) -> None:
    path = write_nifti(chest)
    pipeline, first, second = chain()
    assert not pipeline.stored(path)
    made = pipeline(path)
    assert pipeline.stored(path)
    found = pipeline(path)
    assert (first.calls, second.calls) == (1, 1)
    np.testing.assert_array_equal(made.array, chest + 2)
    np.testing.assert_array_equal(found.array, made.array)
    np.testing.assert_array_equal(found.affine, made.affine)
    assert [d.text for d in found.provenance] == [d.text for d in made.provenance]


def test_changed_late_step_starts_at_the_earlier_store(
    chain: Any, write_nifti: Write, chest: np.ndarray
) -> None:
    path = write_nifti(chest)
    chain()[0](path)
    pipeline, first, second = chain(late="changed")
    pipeline(path)
    assert (first.calls, second.calls) == (0, 1)
    pipeline, first, second = chain(early="changed")
    pipeline(path)
    assert (first.calls, second.calls) == (1, 1)


def test_changed_file_or_hint_is_made_anew(
    chain: Any, write_nifti: Write, chest: np.ndarray
) -> None:
    path = write_nifti(chest)
    pipeline, first, _ = chain()
    pipeline(path)
    pipeline(path, Case("c", "p", path, "", hints={"intensity": "hu"}))
    assert first.calls == 2
    write_nifti(chest + 5)
    np.testing.assert_array_equal(pipeline(path).array, chest + 7)
    assert first.calls == 3


def test_damaged_landing_is_not_trusted(
    chain: Any, tmp_path: Path, write_nifti: Write, chest: np.ndarray
) -> None:
    path = write_nifti(chest)
    pipeline, first, second = chain()
    pipeline(path)
    for file in (tmp_path / "npy").glob("*.json"):
        file.unlink()
    pipeline(path)
    assert (first.calls, second.calls) == (1, 2)
    for file in (tmp_path / "npy").glob("*.npy"):
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    for file in (tmp_path / "nii").glob("*.nii.gz"):
        file.write_bytes(file.read_bytes()[:-20])
    np.testing.assert_array_equal(pipeline(path).array, chest + 2)
    assert (first.calls, second.calls) == (2, 3)
    assert pipeline.stored(path)


def test_volume_is_in_lps_before_the_first_step(
    loaders: Any, write_nifti: Write, chest: np.ndarray
) -> None:
    ras = write_nifti(chest[:, ::-1, ::-1], np.diag([2.0, 2.0, 3.0, 1.0]))
    pipeline = VolumePipeline(partial(open_slices, loaders=loaders), [], [])
    volume = pipeline.source(ras)
    np.testing.assert_array_equal(volume.array, chest)
    assert volume.orientation == "LPS"


def test_errors_name_the_path_once(loaders: Any, write_nifti: Write) -> None:
    path = write_nifti(np.zeros((20, 20, 20), np.int16))
    steps = [RescaleHu(RescaleHuConfig())]
    pipeline = VolumePipeline(partial(open_slices, loaders=loaders), steps, ["r"])
    with pytest.raises(NotCT, match="every voxel is 0") as caught:
        pipeline(path)
    assert str(caught.value).count(str(path)) == 1
    with pytest.raises(UnreadableVolume, match="no such file"):
        pipeline(path.with_name("absent.nii"))


def test_pipeline_travels_to_a_worker_process(
    chain: Any, write_nifti: Write, chest: np.ndarray
) -> None:
    pipeline = pickle.loads(pickle.dumps(chain()[0]))
    np.testing.assert_array_equal(pipeline(write_nifti(chest)).array, chest + 2)


def test_spec_leaves_out_folders_and_describe_reads_it(tmp_path: Path) -> None:
    component = Component(
        "preprocessed", "ctfw_plugins.x:Y", PreprocessedConfig, "s", provider="builtin"
    )
    specs = [
        spec_of(Block(component, PreprocessedConfig(folder=folder)))
        for folder in (None, tmp_path / "elsewhere")
    ]
    assert specs[0] == specs[1]
    described = VolumePipeline(lambda path: None, [Counted()], specs[:1]).describe()  # type: ignore[arg-type,return-value]
    assert described == "preprocessed: compress True, dtype float32"


def test_dicom_without_its_loader_says_what_to_install(loaders: Any, write_series: Write) -> None:
    folder = write_series(np.zeros((2, 3, 3), np.int16))
    with pytest.raises(UnreadableVolume, match=r"tried: nifti, npy.*pip install 'ctfw\[dicom\]'"):
        open_volume(folder, loaders[:2])


def test_unknown_file_and_empty_folder_are_explained(loaders: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnreadableVolume, match=r"tried: nifti, npy, dicom\). Known are NIfTI"):
        open_volume(tmp_path / "notes.txt", loaders)
    with pytest.raises(UnreadableVolume, match="no DICOM file lies in it or below"):
        open_volume(tmp_path, loaders)


def test_real_scans_pass_the_whole_chain(real_data: Path, loaders: Any) -> None:
    steps = [
        RescaleHu(RescaleHuConfig()),
        HuWindow(HuWindowConfig()),
        Slices(SlicesConfig(count=10)),
    ]
    pipeline = VolumePipeline(partial(open_slices, loaders=loaders), steps, ["a", "b", "c"])
    for name, last in (
        ("totalsegmentator/pulmonary_ct_cropped.nii.gz", 151.5),
        ("lidc_idri_subset/LIDC-IDRI-0001", 37.5),
    ):
        volume = pipeline(real_data / name)
        assert len(volume.array) == 10
        assert (volume.array.min(), volume.array.max()) == (-1, 1)
        assert volume.slice_positions_mm[[0, -1]] == pytest.approx([0, last], abs=2.6)


@pytest.mark.parametrize(
    ("name", "words"),
    [("example_mr_sm.nii.gz", "an MR"), ("example_seg.nii.gz", "label map")],
)
def test_real_file_that_is_no_ct_is_refused(
    real_data: Path, loaders: Any, name: str, words: str
) -> None:
    pipeline = VolumePipeline(
        partial(open_slices, loaders=loaders), [RescaleHu(RescaleHuConfig())], ["r"]
    )
    with pytest.raises(NotCT, match=words):
        pipeline(real_data / "totalsegmentator" / name)


class Gap:
    """A stand-in for `fit`: every view becomes 4 x 5 of its mean."""

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return volume.but(array=np.full((1, 4, 5), volume.array.mean(), np.float32))


def test_views_of_a_study_pass_one_by_one_and_are_stacked(
    loaders: Any, tmp_path: Path, write_nifti: Write
) -> None:
    views = tuple(
        write_nifti(np.full((1, 6 + n, 8), n, np.int16), name=f"{n}.nii.gz") for n in range(3)
    )
    store = PreprocessedNumpy(PreprocessedNumpyConfig(folder=tmp_path / "s"))
    study = Case("study", "p", views[0], "", views=views)
    load = partial(open_slices, loaders=loaders)
    pipeline = VolumePipeline(load, [Gap(), store], ["gap", "store"])
    assert not pipeline.stored(study.image, study)
    made = pipeline(study.image, study)
    np.testing.assert_array_equal(made.array[:, 0, 0], [0, 1, 2])
    assert made.array.shape == (3, 4, 5)
    assert pipeline.stored(study.image, study)
    assert len(list((tmp_path / "s").glob("*.npy"))) == 3
    other = Case("other", "p", views[0], "", views=views[::-1])
    assert pipeline.key(study.image, study) != pipeline.key(other.image, other)
    with pytest.raises(UserError, match=r"8 x 6 and 8 x 7 and 8 x 8 pixels.*put `fit` into"):
        VolumePipeline(load, [], [])(study.image, study)


def test_case_without_views_is_its_image(loaders: Any, write_nifti: Write) -> None:
    path = write_nifti(np.zeros((3, 4, 5), np.int16))
    volume = VolumePipeline(partial(open_slices, loaders=loaders), [], [])(
        path, Case("c", "p", path, "")
    )
    assert volume.array.shape == (3, 4, 5)
