"""Nothing of a patient leaves the reader: not by a message, a decision, a warning or a log line."""

from __future__ import annotations

import logging
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from ctfw.errors import UserError
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader
from ctfw_plugins.volumes.dicom_files import WANTED

Write = Callable[..., Path]
SECRETS = ("planted", "person", "4711", "19330322", "033y")
RAMP = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
VALUES = {
    **dict.fromkeys(("LO", "LT", "SH", "ST", "UT", "UC", "UR", "AE"), "Planted 4711"),
    **dict.fromkeys(("PN",), "Planted^Person"),
    **dict.fromkeys(("DA", "DT"), "19330322"),
    **dict.fromkeys(("CS",), "PLANTED"),
    **dict.fromkeys(("UI",), "1.2.4711"),
    **dict.fromkeys(("IS", "DS"), "4711"),
    "AS": "033Y",
}


@pytest.fixture(autouse=True)
def _anything_can_be_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings = pydicom.config.settings
    before = settings.writing_validation_mode
    settings.writing_validation_mode = pydicom.config.IGNORE
    yield
    settings.writing_validation_mode = before


def _personal() -> Dataset:
    """Something personal in every text tag of the dictionary that the reader can do without."""
    full, item = Dataset(), Dataset()
    for place in (full, item):
        for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
            kept = retired or not keyword or keyword in WANTED or not 8 <= tag >> 16 <= 0x4000
            if not kept and vr in VALUES:
                place.add_new(tag, vr, VALUES[vr])
    full.RequestAttributesSequence = [item]
    private = full.private_block(0x0009, "Planted Person", create=True)
    private.add_new(1, "LO", "Planted 4711")
    return full


@pytest.fixture(scope="module")
def personal() -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _personal()


def leaked(words: str) -> list[str]:
    return [secret for secret in SECRETS if secret in words.lower()]


def test_planting_reaches_what_pydicom_shows(
    make_slice: Callable[..., FileDataset], personal: Dataset
) -> None:
    data = make_slice(RAMP[0])
    data.update(personal)
    assert len(data) > 1000
    assert set(leaked(str(data))) == set(SECRETS)


def overwrite(file: Path, name: str) -> None:
    """Put text over the value of a tag, whatever its type, without changing its length."""
    found = pydicom.dcmread(file)[name]
    data = bytearray(file.read_bytes())
    tag = struct.pack("<HH", found.tag.group, found.tag.element) + str(found.VR).encode()
    start = data.index(tag) + (12 if found.VR == "SQ" else 8)
    length = int.from_bytes(data[start - (4 if found.VR == "SQ" else 2) : start], "little")
    assert length >= 8, "too short for the text"
    data[start : start + length] = (b"Planted^Person 4711 " * length)[:length]
    file.write_bytes(data)


def compressed_junk(data: FileDataset) -> None:
    data.PixelData = encapsulate([b"\xff\x4f\xff\x51Planted^Person 4711 " * 4])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless


def unknown_syntax(data: FileDataset) -> None:
    compressed_junk(data)
    data.file_meta.TransferSyntaxUID = "1.2.4711"


def bare(data: FileDataset) -> None:
    data.preamble = None
    data.file_meta.clear()


CASES: dict[str, dict[str, Any]] = {
    "good": {},
    "good, without meta header": {"change": bare},
    "hole": {"z": [0, 5, 10, 20]},
    "uneven": {"z": [0, 5, 10, 16]},
    "duplicates": {"z": [0, 5, 10, 10]},
    "tilt": {"shift_y": 1.0},
    "no right angles": {"normal": (1, 0, 0, 0.5, 0.5, 0)},
    "two studies": {"each": lambda k: {"StudyInstanceUID": f"1.2.4711.{k // 2}"}},
    "two kernels": {
        "z": [0, 5, 0, 5],
        "each": lambda k: {"ConvolutionKernel": f"Planted {k // 2}"},
    },
    "unknown modality": {"tags": {"Modality": "PLANTED"}},
    "MR": {"tags": {"Modality": "MR"}},
    "unknown class": {"tags": {"SOPClassUID": "1.2.4711"}},
    "image type": {"tags": {"ImageType": ["PLANTED", "PERSON", "AXIAL"]}},
    "colour": {"tags": {"PhotometricInterpretation": "PLANTED"}},
    "rescale type": {"tags": {"RescaleType": "Planted Person"}},
    "rescale": {"slope": "1.000000", "over": "RescaleSlope"},
    "rescale text": {"tags": {"RescaleSlope": None, "RescaleIntercept": None}},
    "spacing": {"over": "PixelSpacing"},
    "position": {"over": "ImagePositionPatient"},
    "one position": {"each": lambda k: {"ImagePositionPatient": None} if k == 3 else {}},
    "high bit": {"tags": {"BitsStored": 12, "HighBit": 15}},
    "frames": {"tags": {"NumberOfFrames": 3}},
    "thickness": {"tags": {"SliceThickness": "1.000000"}, "over": "SliceThickness"},
    "functional groups": {
        "tags": {"PerFrameFunctionalGroupsSequence": [Dataset()], "NumberOfFrames": 1},
        "over": "PerFrameFunctionalGroupsSequence",
    },
    "lossy": {"tags": {"LossyImageCompression": "PLANTED"}},
    "instance number": {"tags": {"InstanceNumber": None, "SeriesInstanceUID": "1.2.4711"}},
    "short pixels": {"tags": {"PixelData": b"\0\0"}},
    "no pixels": {"tags": {"PixelData": None}},
    "damaged stream": {"change": compressed_junk},
    "unknown syntax": {"change": unknown_syntax},
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_the_patient_is_told(
    write_series: Write,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    personal: Dataset,
    name: str,
) -> None:
    case = dict(CASES[name])
    change, over = case.pop("change", None), case.pop("over", None)

    def both(data: FileDataset) -> None:
        if data.ImageComments == "first":  # the others have a name, an id and dates
            data.update(personal)
        if change:
            change(data)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = case.pop("each", lambda k: {})
        marks = {0: "first"}
        folder = write_series(
            RAMP,
            change=both,
            each=lambda k: {"ImageComments": marks.get(k, "Planted"), **each(k)},
            **case,
        )
        for file in folder.iterdir() if over else ():
            overwrite(file, over)
    caplog.clear()
    capfd.readouterr()
    with (
        caplog.at_level(logging.DEBUG),
        caplog.at_level(logging.DEBUG, "pydicom"),
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        words = said(folder) + said(next(folder.iterdir()))
    out, err = capfd.readouterr()
    heard = " ".join([words, caplog.text, out, err, *(str(w.message) for w in warned)])
    assert not leaked(heard)
    assert not warned


def said(path: Path) -> str:
    """Everything that reading says, with the whole traceback of what is raised."""
    words = ""
    for wish in ("only", "largest"):
        reader = DicomLoader(DicomConfig(series=wish))  # type: ignore[arg-type]
        assert reader.can_read(path)
        try:
            volume = reader.load(path)
            words += f"{volume.provenance}"
        except UserError as error:
            words += "".join(traceback.format_exception(error))
    assert words
    return words


@pytest.mark.parametrize("cut", [140, 300, 1000])
def test_damaged_headers_tell_nothing(
    write_series: Write, caplog: pytest.LogCaptureFixture, personal: Dataset, cut: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = write_series(RAMP[:2], change=lambda data: data.update(personal))
    caplog.clear()
    for file in folder.iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[:cut] + b"Planted^Person" + whole[cut + 3 :])
    assert not leaked(said(folder) + caplog.text)


def test_logging_and_warnings_are_as_before(write_series: Write) -> None:
    folder = write_series(RAMP)
    logger = logging.getLogger("pydicom")
    before = (logger.disabled, list(warnings.filters))
    DicomLoader(DicomConfig()).load(folder)
    assert (logger.disabled, list(warnings.filters)) == before
