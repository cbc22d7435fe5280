"""Whatever the bytes, a loader gives a volume or says in words why not.

Every installed loader that reads one of the files below is tried, third parties' too (DICOM has
tests of its own). The work is done in a process of its own with little memory and little time, so
that a crash in compiled code, a hang and an allocation that a header asks for are seen as well.
Seeded: the same files every time.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ctfw.contracts import StreamingLoader, VolumeLoader
from ctfw.engine.context import Context
from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.volumes.geometry import canonical
from ctfw.volumes.stream import SliceStream

EXAMPLES = 400
EXTRA_MEMORY = 256 << 20
SECONDS_PER_FILE, SECONDS = 5, 120
ARRAY = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
SIDECAR = {
    "axes": "zyx",
    "spacing_mm": [0.7, 0.8, 1.5],
    "positions_mm": [0.0, 1.5, 3.0],
    "plane_crc32": [zlib.crc32(plane.tobytes()) for plane in ARRAY],
    "intensity": "hu",
    "unit_hu": 1,
}
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "CompressedData = {}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\n"
    "ElementSpacing = 0.7 0.8 1.5\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
    "ElementDataFile = {}\n"
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 4 3\n"
    "space directions: (0.7,0,0) (0,0.8,0) (0,0,1.5)\nkinds: domain domain domain\n"
    "endian: little\nencoding: {}\nspace origin: (1,2,3)\n"
)
ODD_NUMBERS = ["0", "-1", "1", "4096", "65537", "2147483648", "1e999", "nan", "9" * 30, "0.1", ""]
ODD_BYTES = [b"\0", b"\xff", b"\x7f\xff", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"]


@dataclass(frozen=True)
class Seed:
    """A valid image: its files, the first of which is opened, what packs each after a change, and
    whether it holds ARRAY."""

    files: dict[str, bytes]
    pack: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    holds_array: bool = True

    @property
    def main(self) -> str:
        return next(iter(self.files))


def nifti(kind: type) -> bytes:
    image = kind(ARRAY.T, np.diag([-0.7, -0.8, 1.5, 1]))
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(1, 0)
    made: bytes = image.to_bytes()
    return made


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, ARRAY)
    return out.getvalue()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("arr_0.npy"), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def picture(kind: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    grey = np.arange(40 * 50, dtype=np.uint32).reshape(40, 50) % 251
    Image.fromarray(grey.astype(np.uint8)).save(out, kind)
    return out.getvalue()


def seeds() -> list[Seed]:
    voxels, side = ARRAY.tobytes(), json.dumps(SIDECAR).encode()
    meta, nrrd = META.encode(), NRRD.encode()
    return [
        Seed({"scan.nii": nifti(nib.Nifti1Image)}),
        Seed({"scan.nii": nifti(nib.Nifti2Image)}),
        Seed({"scan.nii.gz": nifti(nib.Nifti1Image)}, {"scan.nii.gz": gzipped}),
        Seed({"scan.npy": npy(), "scan.json": side}),
        Seed({"scan.npz": npy(), "scan.json": side}, {"scan.npz": zipped}),
        Seed({"scan.mha": meta.replace(b"{}", b"False", 1).replace(b"{}", b"LOCAL") + voxels}),
        Seed(
            {
                "scan.mhd": meta.replace(b"{}", b"True", 1).replace(b"{}", b"scan.zraw"),
                "scan.zraw": voxels,
            },
            {"scan.zraw": zlib.compress},
        ),
        Seed({"scan.nrrd": nrrd.replace(b"{}", b"gzip") + b"\n" + gzipped(voxels)}),
        Seed({"scan.nhdr": nrrd.replace(b"{}", b"raw") + b"data file: s.raw\n", "s.raw": voxels}),
        Seed({"view.png": picture("png")}, holds_array=False),
        Seed({"view.jpg": picture("jpeg")}, holds_array=False),
    ]


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with up to three things wrong: in its text, its fields, its length."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        if draw(st.booleans()):  # most that matters lies at the start
            at = min(at, draw(st.integers(0, 400)))
        match draw(st.sampled_from(["bit", "bytes", "number", "number", "cut", "twice", "noise"])):
            case "bit":
                flipped = bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) if content else b""
                content = content[:at] + flipped + content[at + 1 :]
            case "bytes":
                odd = draw(st.sampled_from(ODD_BYTES))
                content = content[:at] + odd + content[at + len(odd) :]
            case "number":
                found = list(re.finditer(rb"-?\d+(\.\d+)?", content[:600]))
                if found:
                    number = draw(st.sampled_from(found))
                    odd = draw(st.sampled_from(ODD_NUMBERS)).encode()
                    content = content[: number.start()] + odd + content[number.end() :]
            case "cut":
                content = content[:at]
            case "twice":
                content = content[:at] + content[max(0, at - 64) :]
            case "noise":
                content = content[:at] + draw(st.binary(max_size=16)) + content[at:]
    return content


@st.composite
def scans(draw: st.DrawFn, usable: list[Seed]) -> dict[str, bytes]:
    """Files of one scan, the one to open first; one of them was changed, before or after packing,
    or holds nothing but noise."""
    seed = draw(st.sampled_from(usable))
    victim = draw(st.sampled_from([seed.main, *seed.files]))
    inside = draw(st.booleans())
    files = {}
    for name, content in seed.files.items():
        if name == victim and inside:
            content = draw(changed(content))
        content = seed.pack.get(name, bytes)(content)
        if name == victim and not inside:
            noise = draw(st.integers(0, 9)) == 0
            content = draw(st.binary(max_size=400) if noise else changed(content))
        files[name] = content
    return files


def usable_by(loader: VolumeLoader, folder: Path) -> list[Seed]:
    """The seeds that a loader takes for its own; each is read without any complaint."""
    found = []
    for seed in seeds():
        path = put(folder, {n: seed.pack.get(n, bytes)(c) for n, c in seed.files.items()})
        if loader.can_read(path):
            volume = loader.load(path)
            if seed.holds_array:
                np.testing.assert_array_equal(volume.array, ARRAY)
            found.append(seed)
    return found


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / next(iter(files))


def use(loader: VolumeLoader, path: Path) -> None:
    """All that a run would do first with a file. Raises nothing but a UserError."""
    if not loader.can_read(path):
        return
    volume = loader.load(path)
    assert volume.array.dtype in (np.int16, np.float32)
    assert np.isfinite(volume.array).all()
    assert volume.provenance
    canonical(SliceStream.of(volume)).drain()
    if isinstance(loader, StreamingLoader):
        last = volume.array.shape[0] - 1
        for number, plane in loader.stream(path).read([last]):
            assert number == last
            np.testing.assert_array_equal(plane, volume.array[last])


def limit_memory() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def too_long(*_: Any) -> None:
    raise TimeoutError(f"one file took more than {SECONDS_PER_FILE} s")


def installed() -> dict[str, VolumeLoader]:
    """Name -> loader, for those whose packages are there."""
    return {
        component.name: component.load()(component.config(), Context())
        for component in load_plugins().catalog.all("volume_loader")
        if not component.missing()
    }


def fuzz(name: str, folder: Path) -> None:
    """What the process of one loader does; an exception ends it with a traceback."""
    loader = installed()[name]
    usable = usable_by(loader, folder)
    limit_memory()
    signal.signal(signal.SIGALRM, too_long)
    refused = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(files=scans(usable))
    def run(files: dict[str, bytes]) -> None:
        path = put(folder, files)
        signal.alarm(SECONDS_PER_FILE)
        try:
            use(loader, path)
        except UserError as error:
            refused.add(str(error))
        finally:
            signal.alarm(0)

    run()
    print(json.dumps(sorted(refused)))


def fuzzable() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [n for n, loader in installed().items() if usable_by(loader, Path(folder))]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", fuzzable())
def test_no_file_crashes_hangs_or_exhausts_a_loader(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, __file__, name, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"see the file in {tmp_path}\n{done.stderr[-6000:]}"
    refused = json.loads(done.stdout.splitlines()[-1])
    assert len(refused) >= 8, "the files must reach more than the first check"
    for message in refused:
        assert 10 < len(message) < 600, message
        assert "Traceback" not in message
        assert not re.search("0x[0-9a-f]{6}", message), "an address says nothing to a user"


def test_builtin_loaders_are_among_those_that_are_tried() -> None:
    assert {"nifti", "npy"} <= set(fuzzable())


if __name__ == "__main__":
    fuzz(sys.argv[1], Path(sys.argv[2]))
