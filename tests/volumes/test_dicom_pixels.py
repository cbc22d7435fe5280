"""Stored pixels become the right values, whatever their bits, sign, byte order or compression."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes import dicom_pixels
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
KEEPER = DicomLoader(DicomConfig(fill_padding=False))
Write = Callable[..., Path]
Change = Callable[[FileDataset], None]
NOISE = np.random.default_rng(3).integers(-2000, 2000, (3, 72, 64)).astype(np.int16)


def told(volume: Any) -> str:
    return " | ".join(decision.text for decision in volume.provenance)


def compressed(syntax: UID, stored: int = 16, signed: bool = True) -> Change:
    """Compress a dataset in place; skips where no encoder or decoder is installed."""

    def change(data: FileDataset) -> None:
        data.BitsStored, data.HighBit = stored, stored - 1
        data.PixelRepresentation = int(signed)
        if not get_decoder(syntax).is_available:
            pytest.skip(f"no decoder of {syntax.name} is installed")
        if syntax == JPEGLosslessSV1:
            pixels = np.frombuffer(data.PixelData, "<u2").reshape(data.Rows, data.Columns)
            data.PixelData = encapsulate([lossless_jpeg(pixels & ((1 << stored) - 1), stored)])
            data["PixelData"].is_undefined_length = True
            data.file_meta.TransferSyntaxUID = syntax
            return
        if not get_encoder(syntax).is_available:
            pytest.skip(f"no encoder of {syntax.name} is installed")
        data.compress(syntax, generate_instance_uid=False)

    return change


def lossless_jpeg(pixels: np.ndarray, precision: int) -> bytes:
    """JPEG process 14, selection value 1 (ITU-T T.81 H.1): every size of a difference has a code of
    five bits, so there is no table to optimise."""
    rows, columns = pixels.shape
    frame = bytes([precision, *rows.to_bytes(2, "big"), *columns.to_bytes(2, "big"), 1, 1, 0x11, 0])
    huffman = bytes([0, *(17 if k == 5 else 0 for k in range(1, 17)), *range(17)])
    scan = bytes([1, 1, 0, 1, 0, 0])
    value = pixels.astype(np.int64)
    before = np.empty_like(value)
    before[:, 1:], before[1:, 0] = value[:, :-1], value[:-1, 0]
    before[0, 0] = 1 << (precision - 1)
    bits = []
    for difference in ((value - before + 32768) % 65536 - 32768).ravel().tolist():
        size = abs(difference).bit_length()
        bits.append(f"{size:05b}")
        if 0 < size < 16:
            bits.append(
                f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
            )
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    start = b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, huffman) + segment(0xDA, scan)
    return start + coded + b"\xff\xd9"


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("stored", [12, 16])
@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=lambda u: u.name
)
def test_compressed_series_has_the_values_of_the_plain_one(
    write_series: Write, syntax: UID, stored: int, signed: bool
) -> None:
    values = NOISE if signed else NOISE + 2000
    values = values.clip(-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else values
    plain = write_series(
        values,
        tags={"PixelRepresentation": int(signed), "BitsStored": stored, "HighBit": stored - 1},
        intercept=-1000,
    )
    packed = write_series(
        values, "packed", intercept=-1000, change=compressed(syntax, stored, signed)
    )
    np.testing.assert_array_equal(READER.load(plain).array, values - 1000)
    np.testing.assert_array_equal(READER.load(packed).array, values - 1000)
    assert "another sign" not in told(READER.load(packed))


def test_compressed_slices_are_read_in_any_order(write_series: Write) -> None:
    folder = write_series(NOISE, intercept=0, change=compressed(JPEG2000Lossless))
    for number, plane in READER.stream(folder).read([2]):
        np.testing.assert_array_equal(plane, NOISE[number])


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
def test_compressed_stream_of_another_size_is_refused(write_series: Write, syntax: UID) -> None:
    def change(data: FileDataset) -> None:
        compressed(syntax)(data)
        data.Rows = 71

    with pytest.raises(UnreadableVolume, match=r"another size than its header says \(71 x 64\)"):
        READER.load(write_series(NOISE, change=change))


@pytest.mark.parametrize(
    ("syntax", "extra"),
    [(JPEG2000Lossless, "dicom"), (JPEGLSLossless, "dicom"), (JPEGLosslessSV1, "dicom-jpeg")],
)
def test_missing_decoder_is_named_with_the_extra_that_brings_it(
    write_series: Write, monkeypatch: pytest.MonkeyPatch, syntax: UID, extra: str
) -> None:
    folder = write_series(NOISE, change=compressed(syntax))

    class Lacking:
        is_available = False

    monkeypatch.setattr(dicom_pixels, "get_decoder", lambda uid: Lacking())
    words = rf"compressed \({re.escape(syntax.name)}\).*pip install 'ctfw\[{extra}\]'"
    with pytest.raises(UnreadableVolume, match=words):
        READER.load(folder)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4711"])
def test_transfer_syntax_that_is_no_image_compression_is_refused(
    write_series: Write, syntax: str
) -> None:
    def change(data: FileDataset) -> None:
        data.PixelData = encapsulate([b"\0" * 64])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax

    with pytest.raises(UnreadableVolume, match="a transfer syntax that is not read") as caught:
        READER.load(write_series(NOISE, change=change))
    assert "4711" not in str(caught.value)


def test_name_of_a_compression_kept_on_plain_pixels_is_seen_through(write_series: Write) -> None:
    folder = write_series(NOISE, intercept=0)
    for file in folder.iterdir():
        plain, packed = (f"{uid}\0".encode() for uid in (ExplicitVRLittleEndian, RLELossless))
        file.write_bytes(file.read_bytes().replace(plain, packed, 1))
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == RLELossless
    np.testing.assert_array_equal(READER.load(folder).array, NOISE)


def test_compressed_pixels_without_a_meta_header_are_refused(write_series: Write) -> None:
    def change(data: FileDataset) -> None:
        data.PixelData = encapsulate([b"\0" * 64])
        data["PixelData"].is_undefined_length = True
        data["PixelData"].VR = "OB"
        data.preamble = None
        data.file_meta.clear()

    with pytest.raises(UnreadableVolume, match="the file does not say how"):
        READER.load(write_series(NOISE, change=change))


@pytest.mark.parametrize("signed", [True, False])
def test_garbage_above_the_stored_bits_is_masked(write_series: Write, signed: bool) -> None:
    low = -2048 if signed else 0
    values = np.random.default_rng(0).integers(low, low + 4096, (3, 6, 5))
    noise = np.random.default_rng(1).integers(0, 16, values.shape) << 12
    stored = ((values & 0xFFF) | noise).astype(np.uint16).view(np.int16)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    volume = READER.load(write_series(stored, tags=tags, intercept=0))
    np.testing.assert_array_equal(volume.array, values)


def test_high_bit_above_the_stored_ones_is_refused(write_series: Write) -> None:
    tags = {"BitsStored": 12, "HighBit": 15}
    with pytest.raises(UnreadableVolume, match="12 bits stored in 16 with bit 15 as the highest"):
        READER.load(write_series(NOISE, tags=tags))


@pytest.mark.parametrize(("allocated", "kind"), [(8, np.uint8), (32, np.int32)])
def test_other_widths_are_read(write_series: Write, allocated: int, kind: Any) -> None:
    values = np.arange(3 * 6 * 4).reshape(3, 6, 4).astype(kind)

    def change(data: FileDataset) -> None:
        data.BitsAllocated = data.BitsStored = allocated
        data.HighBit, data.PixelRepresentation = allocated - 1, int(kind is np.int32)
        data.PixelData = values[data.InstanceNumber - 1].tobytes()

    volume = READER.load(write_series(values, change=change, intercept=0))
    np.testing.assert_array_equal(volume.array, values)


def test_lossy_compression_is_said(write_series: Write) -> None:
    volume = READER.load(write_series(NOISE, tags={"LossyImageCompression": "01"}))
    assert "went through a lossy compression" in told(volume)


def test_compression_that_is_always_lossy_is_said_without_the_tag(tmp_path: Path) -> None:
    source = pydicom.dcmread(pydicom.data.get_testdata_file("JPEGLSNearLossless_16.dcm"))
    if not get_decoder(source.file_meta.TransferSyntaxUID).is_available:
        pytest.skip("no decoder of JPEG-LS is installed")
    source.Modality, source.ImageOrientationPatient = "CT", [1, 0, 0, 0, 1, 0]
    source.PixelSpacing, source.SOPClassUID = [1, 1], CTImageStorage
    for k in range(2):
        source.ImagePositionPatient = [0, 0, 5 * k]
        source.save_as(tmp_path / str(k))
    assert "went through a lossy compression" in told(KEEPER.load(tmp_path))


def test_monochrome1_is_not_inverted(write_series: Write) -> None:
    folder = write_series(NOISE, tags={"PhotometricInterpretation": "MONOCHROME1"}, intercept=0)
    np.testing.assert_array_equal(READER.load(folder).array, NOISE)


def test_reference_decoder_agrees_on_pydicoms_own_ct(tmp_path: Path) -> None:
    source = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    expected = source.pixel_array * 1.0 - 1024
    for k in range(2):
        source.ImagePositionPatient = [0, 0, 5 * k]
        source.save_as(tmp_path / str(k))
    volume = KEEPER.load(tmp_path)
    np.testing.assert_array_equal(volume.array, np.stack([expected, expected]))
