"""One of every fault in one data set: each is left out with its reason, and the rest go on."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

PLACES = {"dim": 42, "pixdim": 80, "srow": 280}


def unpacked(path: Path) -> bytearray:
    return bytearray(gzip.decompress(path.read_bytes()))


def repacked(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(bytes(content), 6))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def wrong_crc(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def flipped_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


def promises_100_gb(path: Path) -> None:
    content = unpacked(path)
    content[PLACES["dim"] : PLACES["dim"] + 6] = np.array([4096, 4096, 3000], "<i2").tobytes()
    repacked(path, content)


def zero_spacing(path: Path) -> None:
    content = unpacked(path)
    content[PLACES["pixdim"] : PLACES["pixdim"] + 12] = bytes(12)
    content[PLACES["srow"] : PLACES["srow"] + 48] = bytes(48)
    repacked(path, content)


def nan_spacing(path: Path) -> None:
    content = unpacked(path)
    content[PLACES["srow"] : PLACES["srow"] + 4] = np.array([np.nan], "<f4").tobytes()
    content[252:254] = bytes(2)  # no qform either
    repacked(path, content)


def nan_voxels(path: Path) -> None:
    image = nib.load(path)
    voxels = image.get_fdata(dtype=np.float32)
    voxels[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def web_page(path: Path) -> None:
    path.write_text("<html>404</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def constant(path: Path) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), path)


FAULTS: dict[Callable[[Path], None], str] = {
    truncated: "ends before its last voxel",
    wrong_crc: "damaged",
    flipped_bit: "",
    promises_100_gb: "more than the file can hold",
    zero_spacing: "spacing",
    nan_spacing: "nan x 4 x 5 mm",
    nan_voxels: "1 of",
    directory: "",
    loop: "",
    web_page: "not a NIfTI file",
    empty: "",
    constant: "every voxel is 0",
}


@pytest.fixture
def faulty(make_shelf: Callable[..., Any]) -> Any:
    """Fourteen scans: one with each fault, and two good ones with difficult names."""
    shelf = make_shelf(len(FAULTS) + 2)
    for name, fault in zip(shelf.names, FAULTS, strict=False):
        fault(shelf.scan(name))
    for name, new in zip(shelf.names[-2:], ("Thorax ä 胸部", "n" * 248), strict=True):
        shelf.scan(name).rename(shelf.scan(new))
        shelf.names[shelf.names.index(name)] = new
    shelf.write()
    return shelf


def test_every_fault_is_left_out_and_the_rest_go_on(faulty: Any) -> None:
    done = faulty.prepare("--workers", 2)
    assert done.returncode == 2
    assert "made: 2" in done.stdout, done.stderr
    reasons = json.loads((faulty.log / "quarantine.json").read_text(encoding="utf-8"))
    told_by_the_data_set = {"directory", "loop"}  # no file of that name is there
    for name, (fault, words) in zip(faulty.names, FAULTS.items(), strict=False):
        if fault.__name__ in told_by_the_data_set:
            assert name in done.stderr or name in reasons
        else:
            assert words in reasons[name], fault.__name__
    assert not set(faulty.names[-2:]) & set(reasons)
    assert len(list((faulty.stores / "numpy").glob("*.npy"))) == 2
    assert not list(faulty.stores.rglob("*.tmp"))
    again = faulty.prepare()
    assert "made: 0" in again.stdout
    assert "done before: 2" in again.stdout


def test_worker_imports_nothing_heavy(shelf: Any) -> None:
    code = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "pipeline, case = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "from ctfw.volumes.work import prepare_one\n"
        "row = prepare_one(pipeline, case, pipeline.key(case.image, case))\n"
        "assert row.state == 'made', row\n"
        "heavy = ('torch', 'transformers', 'matplotlib', 'nibabel', 'pandas', 'scipy', 'typer')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    import pickle

    from ctfw.engine.bench import make_pipeline
    from ctfw.engine.context import Context
    from ctfw.plugins import load_plugins
    from ctfw.recipe import resolve

    chain = "\n    - {use: rescale-hu}\n    - {use: resample}\n    - {use: hu-window}\n"
    shelf.write(f"{chain}    - {{use: preprocessed-numpy, folder: STORES/numpy}}\n")
    plugins = load_plugins()
    recipe = resolve(shelf.recipe, (), None, plugins)
    settings: Any = recipe.data.settings
    context = Context()
    pipeline = make_pipeline(plugins.catalog, None, list(settings.preprocess), context)
    case = context.build(recipe.data).cases("train")[0]
    packed = shelf.root / "work.pickle"
    packed.write_bytes(pickle.dumps((pipeline, case)))
    done = subprocess.run(
        [sys.executable, "-c", code, packed], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
