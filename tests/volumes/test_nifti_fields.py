"""Our parser of NIfTI headers says what nibabel's says, on any bytes."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw_plugins.volumes.nifti_fields import InvalidQform, NiftiFields

KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
BY_CODE = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
number = st.floats(-300, 300, width=32)


def header(data: st.DataObject) -> Any:
    """A header of either version and byte order with arbitrary geometry."""
    size = data.draw(st.sampled_from([348, 540]))
    found = KINDS[size](endianness=data.draw(st.sampled_from("<>")))
    found["dim"][1:4] = data.draw(st.lists(st.integers(1, 500), min_size=3, max_size=3))
    found["dim"][0] = 3
    found["pixdim"][1:4] = data.draw(st.lists(st.floats(0, 9, width=32), min_size=3, max_size=3))
    found["pixdim"][0] = data.draw(st.sampled_from([-1, 1, 0, 2]))
    part = st.floats(-1, 1, width=32)
    for name in ("quatern_b", "quatern_c", "quatern_d"):
        found[name] = data.draw(part)
    for name in ("qoffset_x", "qoffset_y", "qoffset_z"):
        found[name] = data.draw(number)
    for name in ("srow_x", "srow_y", "srow_z"):
        found[name] = data.draw(st.lists(number, min_size=4, max_size=4))
    found["datatype"] = data.draw(st.sampled_from(list(BY_CODE)))
    found["scl_slope"], found["scl_inter"] = data.draw(number), data.draw(number)
    found["vox_offset"] = data.draw(st.sampled_from([352, 544, 4096]))
    found["xyzt_units"] = data.draw(st.integers(0, 63))
    found["qform_code"], found["sform_code"] = data.draw(st.tuples(*[st.integers(0, 4)] * 2))
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_field_is_nibabels(data: st.DataObject) -> None:
    theirs = header(data)
    block = theirs.binaryblock
    known = NiftiFields.length(block[:4])
    assert known == (len(block), theirs.endianness)
    ours = NiftiFields.of(block, known[1])
    assert ours.dtype == theirs.get_data_dtype()
    np.testing.assert_array_equal(ours["dim"], theirs["dim"])
    for name in ("vox_offset", "scl_slope", "scl_inter", "qform_code", "sform_code", "xyzt_units"):
        assert float(ours[name]) == float(theirs[name])
    assert bytes(ours["magic"])[:3] == theirs["magic"].item()[:3]
    np.testing.assert_array_equal(ours.sform(), theirs.get_sform())
    shape = tuple(int(n) for n in theirs["dim"][1:4])
    np.testing.assert_allclose(ours.by_size(shape), theirs.get_base_affine())
    factor = {1: 1000.0, 3: 0.001}.get(int(theirs["xyzt_units"]) & 7, 1.0)
    assert ours.to_mm == factor
    try:
        expected = theirs.get_qform()
    except (nib.spatialimages.HeaderDataError, ValueError):
        with pytest.raises(InvalidQform):
            ours.qform()
        return
    np.testing.assert_allclose(ours.qform(), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_rotation_comes_back(kind: Any) -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [0.7, 0.8, 1.5]
    affine[:3, 3] = 1, -2, 3
    theirs = kind()
    theirs.set_data_shape((4, 5, 6))
    theirs.set_qform(affine)
    ours = NiftiFields.of(theirs.binaryblock, theirs.endianness)
    np.testing.assert_allclose(ours.qform(), affine, atol=1e-6)


@pytest.mark.parametrize(("code", "kind"), [(128, "a colour picture"), (32, "complex numbers")])
def test_voxels_that_are_no_numbers_are_named(code: int, kind: str) -> None:
    theirs = nib.Nifti1Header()
    theirs["datatype"] = code
    ours = NiftiFields.of(theirs.binaryblock, theirs.endianness)
    assert (ours.dtype, ours.kind) == (None, kind)


def test_other_bytes_are_no_header() -> None:
    assert NiftiFields.length(b"<htm") is None
