"""Work over many cases, batch by batch, shared among processes and taken up after a kill."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw import processes
from ctfw.progress import bar
from ctfw.runs.files import append_line, each_line, read_fitting, read_lines, write_lines

Line = dict[str, Any]
Work = Callable[[Sequence[int]], list[Line]]
Fits = Callable[[int, Mapping[str, Any]], bool]
_AT = "at"  # in the file of one process: the place of a line among all


def in_batches(
    work: Work, items: Sequence[int], size: int, file: Path, title: str, fits: Fits
) -> list[Line]:
    """The lines that `work` makes of each batch of items, in order; they stand in `file`.

    A batch is written whole or again, so that the batches, and with them the numbers, are those
    of an unbroken job, in one process or several. Each process writes a file of its own beside
    `file`; the main one puts them together when all are done. What a killed job has written counts,
    whatever the number of processes was: of `file` what stands before the first line that is
    damaged, or not `fits(place, line)`, of the others each line that fits.
    """
    done = _whole(_found(file, len(items), fits), len(items), size)
    processes.wait()  # nobody writes before all have read
    starts = [start for start in range(0, len(items), size) if start not in done]
    alone = processes.world() == 1 and not _parts(file)
    if alone:
        write_lines(file, _in_order(done))
    mine = starts[processes.rank() :: processes.world()]
    own = file.with_name(f"{file.stem}.rank{processes.rank()}.jsonl")
    with bar(title, len(items), sum(map(len, done.values()))) as job:
        for start in mine:
            made = work(items[start : start + size])
            for place, line in enumerate(made, start):
                append_line(file if alone else own, line if alone else {_AT: place, **line})
            done[start] = made
            job.advance(len(made) * processes.world())
    return list(_in_order(done)) if alone else _together(file, len(items), size, fits)


def _together(file: Path, count: int, size: int, fits: Fits) -> list[Line]:
    """All lines, once every process has written its own."""
    processes.wait()
    if processes.is_main():
        write_lines(file, _in_order(_whole(_found(file, count, fits), count, size)))
        for part in _parts(file):
            part.unlink()
    processes.wait()
    return read_lines(file)


def _parts(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.stem}.rank*.jsonl"))


def _found(file: Path, count: int, fits: Fits) -> dict[int, Line]:
    """Place -> line, of `file` and of the files of single processes."""
    lines = dict(enumerate(trusted(file, count, fits)))
    for part in _parts(file):
        for line in read_lines(part):
            place = line.pop(_AT, None)
            if isinstance(place, int) and 0 <= place < count and fits(place, line):
                lines[place] = line
    return lines


def trusted(file: Path, count: int, fits: Fits) -> list[Line]:
    """The first lines of `file` that are what they should be, `count` at most.

    Says so on stderr where others are done again; a last line that a kill cut is no news.
    """
    there = each_line(file)
    while there and there[-1] is None:
        there.pop()
    done = read_fitting(file, lambda place, line: place < count and fits(place, line))
    if len(done) < min(count, len(there)) and processes.is_main():
        print(
            f"{file}, line {len(done) + 1}: damaged, or of another case; this and what follows "
            "is done again",
            file=sys.stderr,
        )
    return done


def _whole(lines: dict[int, Line], count: int, size: int) -> dict[int, list[Line]]:
    """First place -> lines, of each batch that is there from its first line to its last."""
    found = {}
    for start in range(0, count, size):
        places = range(start, min(start + size, count))
        if all(place in lines for place in places):
            found[start] = [lines[place] for place in places]
    return found


def _in_order(batches: dict[int, list[Line]]) -> Iterable[Line]:
    return (line for start in sorted(batches) for line in batches[start])
