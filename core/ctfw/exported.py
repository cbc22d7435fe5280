"""What a backbone says of the folder that it exported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exported:
    """A folder that tools without ctfw can load.

    card    Markdown for its README: what the model reads, and how to call it
    checks  what was compared, in words; printed and written into the README
    base    folder or hub id that the weights derive from; empty for random ones
    """

    card: str
    checks: tuple[str, ...] = ()
    base: str = ""
