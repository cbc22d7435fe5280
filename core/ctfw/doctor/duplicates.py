"""Cases that show the same image.

A scan that is trained on and tested on makes the score false; one that stands twice in a split
counts double.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, count, ok, problem, warning
from ctfw.doctor.scene import in_threads, sources
from ctfw.errors import UnreadableVolume
from ctfw.volumes.identity import source_identity

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.types import Case

Group = tuple["Case", ...]
_PIECE = 4096
_SHOWN = 3  # cases named of one image


def check(scene: Scene) -> Iterator[Finding]:
    """Equal images in two splits are a problem, within one split a warning."""
    groups = equal_images(scene.cases)
    across = [group for group in groups if len({case.split for case in group}) > 1]
    within = [group for group in groups if len({case.split for case in group}) == 1]
    if across:
        yield problem(
            f"{count(len(across), 'image is', 'images are')} in two splits: the test is not of "
            "unseen scans",
            _named(across),
            "keep each in one split",
            images=len(across),
        )
    if within:
        spare = sum(len(group) - 1 for group in within)
        yield warning(
            f"{count(len(within), 'image stands', 'images stand')} in more than one case of a "
            f"split ({count(spare, 'case')} too many){_disagreeing(within)}",
            _named(within),
            "they count double: keep one case of each",
            images=len(within),
            cases=spare,
        )
    if not groups:
        yield ok(f"{count(len(scene.cases), 'case')}, no image twice")


def _named(groups: Sequence[Group]) -> list[str]:
    """A few cases of each image, one of each split among them."""
    named = []
    for group in groups:
        first: list[Case] = []
        for case in group:
            if case.split not in {each.split for each in first}:
                first.append(case)
        shown = [*first, *(case for case in group if all(case is not each for each in first))][
            :_SHOWN
        ]
        more = f" and {len(group) - len(shown):,} more" if len(group) > len(shown) else ""
        named.append(" = ".join(f"{case.id} ({case.split})" for case in shown) + more)
    return named


def _disagreeing(groups: Sequence[Group]) -> str:
    """How many of the images have several reports, in words."""
    number = sum(len({case.report for case in group}) > 1 for group in groups)
    return f"; {number:,} of them with different reports" if number else ""


def equal_images(cases: Sequence[Case]) -> list[Group]:
    """Groups of two and more cases that have a source in common, as `source_identity` sees it.

    Only sources of equal size are compared, and of those only a few kilobytes first, so that a
    whole file is read only where it is almost sure to be a copy.
    """
    owners: dict[Path, list[Case]] = defaultdict(list)
    for case in cases:
        for path in dict.fromkeys(sources(case)):
            owners[path].append(case)
    groups = [list(owners)]
    groups = _refined(groups, _size, "compare sizes")
    groups = _refined(groups, _glance, "compare scans of one size")
    groups = _refined(groups, _identity, "compare likely copies")
    copies = {path for group in groups for path in group}
    sets = [[case for path in group for case in owners[path]] for group in groups]
    sets += [found for path, found in owners.items() if path not in copies]
    by_id = (tuple({case.id: case for case in found}.values()) for found in sets)
    unique = {tuple(case.id for case in found): found for found in by_id if len(found) > 1}
    return list(unique.values())


def _refined(
    groups: Sequence[Sequence[Path]], tell_apart: Callable[[Path], Hashable], title: str
) -> list[list[Path]]:
    """Each group split into those of equal value; who has none, or is alone, drops out."""
    members = [(number, path) for number, group in enumerate(groups) for path in group]
    values = in_threads(tell_apart, [path for _, path in members], title)
    found: dict[Hashable, list[Path]] = defaultdict(list)
    for (number, path), value in zip(members, values, strict=True):
        if value is not None:
            found[number, value].append(path)
    return [group for group in found.values() if len(group) > 1]


def _size(path: Path) -> Hashable:
    """Bytes of a file; number of files of a folder, and bytes of three of them."""
    try:
        if not path.is_dir():
            return path.stat().st_size or None
        names = sorted(os.listdir(path))
        return len(names), *(os.stat(path / name).st_size for name in _few(names))
    except OSError:
        return None


def _glance(path: Path) -> Hashable:
    """Hash of the start, the middle and the end of a file, or of three files of a folder."""
    try:
        if not path.is_dir():
            return _pieces(path)
        chosen = (path / name for name in _few(sorted(os.listdir(path))))
        return tuple(_pieces(file) for file in chosen if file.is_file())
    except OSError:
        return None


def _few(names: Sequence[str]) -> list[str]:
    """The first, the middle and the last name."""
    return [names[i] for i in sorted({0, len(names) // 2, len(names) - 1})] if names else []


def _pieces(file: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for start in (0, size // 2, max(0, size - _PIECE)):
            stream.seek(start)
            digest.update(stream.read(_PIECE))
    return digest.digest()


def _identity(path: Path) -> Hashable:
    try:
        return source_identity(path)
    except UnreadableVolume:
        return None
