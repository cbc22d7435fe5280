"""Whatever the storage order, the same anatomy comes out in the same place."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import UnreadableVolume
from ctfw.types import Case, Volume
from ctfw.volumes import geometry
from ctfw.volumes.geometry import check_affine, lps_affine, to_lps
from ctfw.volumes.stream import SliceStream

ARRAY = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def case(**hints: object) -> Case:
    return Case("c", "p", Path("c"), "", hints=hints)


def canonical(volume: Volume, case: Case | None = None) -> Volume:
    return geometry.canonical(SliceStream.of(volume), case).collect()


def places(volume: Volume) -> dict[int, tuple[float, ...]]:
    """Voxel value -> millimetres."""
    z, y, x = np.indices(volume.array.shape).reshape(3, -1)
    mm = (volume.affine @ np.stack([x, y, z, np.ones_like(x)]))[:3].T
    return {int(v): tuple(np.round(at, 6)) for v, at in zip(volume.array.ravel(), mm, strict=True)}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_storage_order_becomes_lps_without_moving_a_voxel(order: tuple[int, ...]) -> None:
    for signs in product((-1, 1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) * np.array([0.7, 0.8, 1.5]) * signs)[:, order]
        affine[:3, 3] = 5, -6, 7
        volume = Volume(ARRAY, affine)
        turned = to_lps(volume)
        assert turned.orientation == "LPS"
        assert places(turned) == places(volume)
        assert to_lps(turned) is turned
        one_by_one = canonical(volume)
        np.testing.assert_array_equal(one_by_one.array, turned.array)
        np.testing.assert_array_equal(one_by_one.affine, turned.affine)
        assert one_by_one.provenance == turned.provenance


def test_slight_rotation_is_kept_and_strong_refused() -> None:
    def rotated(degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        affine = np.eye(4)
        affine[1:3, 1:3] = [[c, -s], [s, c]]
        return affine @ lps_affine((1, 1, 2))

    volume = Volume(ARRAY, rotated(15))
    assert to_lps(volume).affine is volume.affine
    told = geometry.tell_oblique(SliceStream.of(volume)).collect()
    assert "rotated by 15 degrees" in told.provenance[0].text
    assert geometry.tell_oblique(SliceStream.of(Volume(ARRAY, rotated(0)))).notes() == ()
    with pytest.raises(UnreadableVolume, match="rotated by 30 degrees"):
        check_affine(rotated(30))


@pytest.mark.parametrize(
    ("change", "words"),
    [((1, 1, 0.0), "spacing"), ((1, 1, np.nan), "not finite"), ((1, 1, 400.0), "spacing")],
)
def test_spacing_that_cannot_be_is_refused(change: tuple[float, ...], words: str) -> None:
    with pytest.raises(UnreadableVolume, match=words):
        check_affine(np.diag([*change, 1.0]))


def test_shear_is_refused_with_its_angle() -> None:
    affine = np.diag([1.0, 1, 2, 1])
    affine[1, 2] = 2 * np.tan(np.radians(10))
    with pytest.raises(UnreadableVolume, match=r"sheared by 10.0 degrees"):
        check_affine(affine)


def test_table_that_agrees_is_noted() -> None:
    volume = canonical(
        Volume(ARRAY, lps_affine((0.7, 0.7, 1.5))), case(XYSpacing="[0.7, 0.7]", ZSpacing=1.5)
    )
    assert "agree" in volume.provenance[0].text


def test_table_replaces_unit_spacing_without_flipping_voxels() -> None:
    volume = canonical(Volume(ARRAY, np.eye(4)), case(XYSpacing="[0.7, 0.7]", ZSpacing="1.5"))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.orientation == "LPS"
    assert volume.spacing_mm == pytest.approx((1.5, 0.7, 0.7))


def test_table_of_another_volume_is_refused() -> None:
    with pytest.raises(UnreadableVolume, match=r"header says 0.7 .* table 0.7 x 0.7 x 5"):
        canonical(Volume(ARRAY, lps_affine((0.7, 0.7, 1.5))), case(XYSpacing=0.7, ZSpacing=5))


@pytest.mark.parametrize("blank", [None, "", "nan", float("nan"), 0])
def test_blank_table_says_nothing(blank: object) -> None:
    volume = Volume(ARRAY, lps_affine((0.7, 0.7, 1.5)))
    made = canonical(volume, case(XYSpacing="[0.9, 0.9]", ZSpacing=blank))
    np.testing.assert_array_equal(made.affine, volume.affine)
    assert made.provenance == ()
