"""What a phantom's files hold: a CT in HU, its mask and its lesion table."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets.phantom import Phantom
from ctfw_plugins.datasets.phantoms.sheet import sheet
from ctfw_plugins.datasets.phantoms.writer import Recipe, Study, render

RECIPE = Recipe(seed=7, spacing_mm=3.0, labels=CT_RATE_LABELS, positives_per_case=3.5)


def only(label: int | None) -> np.ndarray:
    labels = np.zeros(len(CT_RATE_LABELS), np.int8)
    if label is not None:
        labels[label] = 1
    return labels


def test_image_is_a_chest_ct_in_hu(phantoms: Phantom) -> None:
    image = nibabel.load(phantoms.cases("train")[0].image)
    assert image.get_data_dtype() == np.int16
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header["sform_code"] > 0
    assert image.header["qform_code"] > 0
    np.testing.assert_allclose(image.header.get_sform(), image.header.get_qform(), atol=1e-3)
    extent = np.array(image.shape) * image.header.get_zooms()
    np.testing.assert_allclose(extent, (330, 252, 262), atol=45)
    hu = np.asanyarray(image.dataobj)
    assert hu.min() >= -1024
    assert 0.08 < ((hu > -950) & (hu < -600)).mean() < 0.5, "share of lung"
    assert 0.1 < ((hu > -150) & (hu < 120)).mean() < 0.6, "share of soft tissue"
    assert 0.002 < ((hu > 250) & (hu < 1500)).mean() < 0.06, "share of bone"


def test_mask_has_the_bits_of_the_labels_on_the_grid_of_the_image(phantoms: Phantom) -> None:
    for case in phantoms.cases("train"):
        assert case.mask is not None
        mask = nibabel.load(case.mask)
        np.testing.assert_array_equal(mask.affine, nibabel.load(case.image).affine)
        assert mask.get_data_dtype() == np.int32
        bits = np.bitwise_or.reduce(np.asanyarray(mask.dataobj).ravel())
        found = [int(bits >> label & 1) for label in range(len(CT_RATE_LABELS))]
        assert case.labels is not None
        assert found == case.labels.tolist(), case.id


def test_lesion_table_says_where_the_mask_is(phantoms: Phantom) -> None:
    seen = 0
    for case in phantoms.cases("train"):
        mask = nibabel.load(case.mask)
        bits = np.asanyarray(mask.dataobj)
        for index, name in enumerate(CT_RATE_LABELS):
            lesions = [lesion for lesion in case.lesions if lesion.label == name]
            levels = np.flatnonzero((bits >> index & 1).any((0, 1)))
            assert sorted({k for lesion in lesions for k in lesion.slices}) == levels.tolist()
            for lesion in lesions:
                place = np.linalg.inv(mask.affine) @ [*lesion.centre_mm, 1]
                assert levels.min() - 0.5 <= place[2] <= levels.max() + 0.5
                if lesion.side:  # RAS+
                    assert (lesion.centre_mm[0] > 0) == (lesion.side == "right")
                seen += 1
    assert seen > 50


@pytest.mark.parametrize("label", range(len(CT_RATE_LABELS)), ids=CT_RATE_LABELS)
def test_planting_a_label_changes_the_hu_there_and_nowhere_else(label: int) -> None:
    study = Study("train", 3, 0)
    _, without, _ = render(RECIPE, study, only(None))
    canvas, with_it, _ = render(RECIPE, study, only(label))
    inside = canvas.mask != 0
    changed = np.abs(with_it.astype(int) - without) > 25
    assert (changed & inside).sum() > 100, "voxels that can be seen"
    reach = ndimage.binary_dilation(inside, iterations=2)
    assert (changed & ~reach).sum() <= 0.02 * changed.sum()


@pytest.mark.parametrize("label", range(len(CT_RATE_LABELS)), ids=CT_RATE_LABELS)
def test_a_finding_is_cut_by_one_of_ten_even_slices(label: int) -> None:
    missed = 0
    for patient in range(1, 5):
        canvas, _, _ = render(RECIPE, Study("train", patient, 0), only(label))
        lung = np.flatnonzero((canvas.lung > 0.5).any((1, 2)))
        levels = np.linspace(lung[0], lung[-1], 10).round().astype(int)
        missed += int((canvas.mask[levels] != 0).sum((1, 2)).max() < 4)
    assert missed == 0


def test_sizes_of_nodules_are_those_of_the_table() -> None:
    label = CT_RATE_LABELS.index("Lung nodule")
    fine = Recipe(7, 1.5, CT_RATE_LABELS, 3.5)
    canvas, _, _ = render(fine, Study("train", 1, 0), only(label))
    regions, count = ndimage.label(canvas.mask >> label & 1)
    sizes = [spot.size_mm for spot in canvas.spots]
    assert count <= len(sizes)
    volume = np.bincount(regions.ravel())[1:].max() * 1.5**3
    assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(max(sizes), rel=0.2)


def test_patients_differ_in_size_and_density() -> None:
    shapes, densities = set(), set()
    for patient in range(1, 9):
        canvas, hu, _ = render(
            Recipe(7, 6.0, CT_RATE_LABELS, 3.5), Study("train", patient, 0), only(None)
        )
        shapes.add((canvas.shape[0], int((canvas.lung > 0.5).sum())))
        densities.add(round(float(np.median(hu[canvas.lung > 0.9]))))
    assert len(shapes) > 6
    assert max(densities) - min(densities) > 15


def test_contact_sheet_outlines_the_finding() -> None:
    recipe = Recipe(7, 6.0, CT_RATE_LABELS, 3.5)
    names: list[str | None] = [None, "Consolidation"]
    picture = sheet(recipe, names, 1, outline=True)
    colour = (picture[..., 0] == 255) & (picture[..., 1] == 80)
    half = picture.shape[0] // 2
    assert not colour[: half - 4].any(), "no finding, no outline"
    assert colour[half:].any()
