"""Models that run elsewhere: what a backbone may offer for other tools, beside its contract.

Both protocols are optional; `ctfw export` and `generation.engine` ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ctfw.types import Volume


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


@runtime_checkable
class ExportingBackbone(Protocol):
    """A backbone whose weights tools without ctfw can load."""

    def export(self, folder: Path, facts: Mapping[str, Any], *, merged: bool) -> Exported:
        """Write the loaded model for other tools, and check what was written.

        folder  an empty or absent folder
        facts   of the checkpoint, see `ctfw.engine.bench.checkpoint_facts`
        merged  one model with everything in it; else the adapters alone

        The backbone may be unusable afterwards. Raises BadCheckpoint when the folder would answer
        differently, or holds nothing of that kind.
        """


@runtime_checkable
class ServableBackbone(Protocol):
    """A backbone that says how a scan is shown to a model that runs elsewhere."""

    def conversation(self, volume: Volume) -> Sequence[Mapping[str, Any]]:
        """Chat messages with the slices as images (see `ctfw.endpoint.image_part`) and the prompt.

        Needs no weights, and may be called before `build`.
        """

    def video_request(self, volume: Volume) -> Mapping[str, Any]:
        """The same scan as a request of vLLM's `LLM.generate`, for the exported model."""
