"""Generating the reports of many cases; a killed job goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctfw.contracts import Backbone
from ctfw.engine.images import TokenBank
from ctfw.progress import bar
from ctfw.runs.files import append_line, read_lines, write_lines
from ctfw.settings import Generation
from ctfw.types import Case


def write_all(
    backbone: Backbone,
    bank: TokenBank,
    shown: Sequence[Case],
    settings: Generation,
    seed: int,
    file: Path,
    title: str,
) -> list[tuple[str, str]]:
    """(text, "stop" or "length") for the image of each case of `shown`, in order.

    Finished batches stand in `file`. A batch is written whole or again, so that the batches, and
    with them the numbers, are those of an unbroken run.
    """
    size = settings.batch_size
    done = read_lines(file)
    done = done[: len(done) // size * size] if len(done) < len(shown) else done[: len(shown)]
    write_lines(file, done)
    results = [(str(line["text"]), str(line["finish"])) for line in done]
    with bar(title, len(shown), len(results)) as job:
        for start in range(len(results), len(shown), size):
            part = shown[start : start + size]
            made = backbone.generate([bank.case(case) for case in part], settings, seed + start)
            for case, (text, finish) in zip(part, made, strict=True):
                append_line(file, {"image": case.id, "text": text, "finish": finish})
            results += made
            job.advance(len(part))
    return results
