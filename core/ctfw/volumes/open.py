"""Choose the loader for a file or folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ctfw.contracts import StreamingLoader, VolumeLoader
from ctfw.errors import NotCT, UnreadableVolume
from ctfw.types import Volume
from ctfw.volumes.stream import Planes, SliceStream

_DICOM_MAGIC = b"DICM"
_MOST = 64


def open_slices(path: Path, loaders: Sequence[tuple[str, VolumeLoader]]) -> SliceStream:
    """The slices of `path` from the first loader that says it can; the voxel axes are as stored.

    `ctfw.volumes.geometry.canonical` brings them to LPS; `VolumePipeline` does both.

    Raises:
        UnreadableVolume: nothing is there, no loader reads it (the message lists what was tried
            and what to install), or the loader found it damaged, which may show only when the
            last slice has been read.
        NotCT: it was read, and is not a CT.
    """
    path = Path(path)
    try:
        there = path.exists()
    except OSError as error:  # e.g. a name that is too long for any file
        raise UnreadableVolume(f"{path}: cannot be looked up: {error.strerror}") from error
    if not there:
        raise UnreadableVolume(f"{path}: no such file or folder")
    for name, loader in loaders:
        if loader.can_read(path):
            return _slices(path, name, loader)
    tried = ", ".join(name for name, _ in loaders) or "none is installed"
    raise UnreadableVolume(
        f"{path}: no volume loader reads this (tried: {tried}){_advice(path, loaders)}"
    )


def open_volume(path: Path, loaders: Sequence[tuple[str, VolumeLoader]]) -> Volume:
    """The whole volume, as `open_slices` reads it."""
    return open_slices(path, loaders).collect()


def _slices(path: Path, name: str, loader: VolumeLoader) -> SliceStream:
    with _naming(path, name):
        if not isinstance(loader, StreamingLoader):
            return SliceStream.of(loader.load(path))
        source = loader.stream(path)

    def read(numbers: Sequence[int]) -> Planes:
        with _naming(path, name):
            yield from source.read(numbers)

    return source.but(read=read)


@contextmanager
def _naming(path: Path, name: str) -> Iterator[None]:
    """The path in front of whatever is wrong."""
    try:
        yield
    except (UnreadableVolume, NotCT) as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise UnreadableVolume(f"{path}: the {name} loader ran out of memory") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableVolume(f"{path}: the {name} loader cannot read it: {reason}") from error


def _advice(path: Path, loaders: Sequence[tuple[str, VolumeLoader]]) -> str:
    """What would be needed, when the content can be recognised."""
    names = {name for name, _ in loaders}
    if _has_dicom(path):
        if "dicom" not in names:
            return ". It is DICOM: run pip install 'ctfw[dicom]'"
        return ". It holds DICOM files that the dicom loader does not recognise"
    if path.suffix.lower() in (".mha", ".mhd", ".nrrd", ".nhdr") and "itk" not in names:
        return ". It is MetaImage or NRRD: run pip install 'ctfw[itk]'"
    if path.is_dir():
        return ". A folder is read as a DICOM series, and no DICOM file lies in it or below"
    return (
        ". Known are NIfTI (.nii, .nii.gz), MetaImage and NRRD, arrays (.npy, .npz), pictures "
        "(.png, .jpg) and folders with a DICOM series"
    )


def _has_dicom(path: Path) -> bool:
    files = islice(path.rglob("*"), _MOST) if path.is_dir() else [path]
    return any(file.is_file() and _is_dicom(file) for file in files)


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == _DICOM_MAGIC
    except OSError:
        return False
