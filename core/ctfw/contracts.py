"""What a component of each kind must offer: the protocols that `ctfw.testing` checks.

A component's target is called as `target(config, context)`: `config` is an instance of the
settings model that was declared, `context` a `ctfw.engine.context.Context`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ctfw.types import (
    Case,
    CaseTable,
    LossTerms,
    Negative,
    Prediction,
    Scores,
    StepOutput,
    Volume,
)

if TYPE_CHECKING:
    import torch

    from ctfw.engine.context import Context, StageResult
    from ctfw.settings import Generation
    from ctfw.volumes.stream import SliceStream


@runtime_checkable
class Dataset(Protocol):
    """Cases, reports, labels and splits. Reads no image: it says where the images are.

    Optional: `left_out: Mapping[str, tuple[str, ...]]`, the studies that it does not use (reason
    in words -> ids), e.g. those whose file is missing. Filled once cases were read; `ctfw doctor`
    lists it.
    """

    label_names: tuple[str, ...]

    def prepare(self) -> None:
        """Make or check what is needed on disk; safe to call twice, resumes after a kill."""

    def cases(self, split: str) -> CaseTable:
        """The cases of "train", "validation" or "test". Raises BadData when it has none."""


@runtime_checkable
class VolumeLoader(Protocol):
    """A file or folder -> `Volume` with (z, y, x) array, affine in RAS+ and provenance."""

    def can_read(self, path: Path) -> bool:
        """Whether this looks like something it reads; cheap, never raises."""

    def load(self, path: Path) -> Volume:
        """Read it. Raises UnreadableVolume or NotCT with a reason; never guesses silently."""


@runtime_checkable
class StreamingLoader(VolumeLoader, Protocol):
    """A loader that can also give the slices one by one, as they are stored.

    Optional; without it `load` is used and the volume is held in memory.
    """

    def stream(self, path: Path) -> SliceStream:
        """Read the header only. Raises as `load`; what is wrong with the voxels is raised while
        they are read, at the latest after the last one."""


@runtime_checkable
class Preprocessor(Protocol):
    """`Volume` -> `Volume`; chained in the order of the recipe.

    `case` gives what the data set knows about the file (`case.hints`); None for a bare scan.
    """

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume: ...


@runtime_checkable
class StreamingPreprocessor(Preprocessor, Protocol):
    """A step that needs few slices at a time. Optional; both ways must give the same result."""

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        """The slices after this step; nothing is read before they are asked for."""


@runtime_checkable
class VolumeStore(Protocol):
    """A preprocessor that keeps its input on disk: a landing in the chain.

    The steps before it run once per volume; later runs start from what it kept. `key` is a hash
    of what is in the source and of every step before. Optional, and used where they are there:
    `folder`, where entries are kept; `has(key)`, cheaper than `find`; `size(key)`, bytes on disk;
    `sweep()`, which removes what killed processes left unfinished.
    """

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume: ...

    def find(self, key: str) -> Volume | None:
        """The stored volume, or None."""

    def keep(self, key: str, volume: Volume) -> None:
        """Write atomically: a reader never sees half a volume."""


@runtime_checkable
class StreamingStore(VolumeStore, Protocol):
    """A store that writes slices as they pass and reads the ones that are asked for. Optional."""

    def open(self, key: str) -> SliceStream | None:
        """The stored slices, or None."""

    def through(self, key: str, slices: SliceStream) -> SliceStream:
        """The same slices, rounded as they are stored. Reading any of them reads and writes all;
        the entry is there once the reader has come to the end."""


@runtime_checkable
class NegativeSampler(Protocol):
    """Pairs a case with an image that its report does not describe.

    Optional: `contradicts` of its settings, what is wrong in a report then ("findings", "side")."""

    def fit(self, cases: CaseTable) -> None:
        """Look at the pool once, before training."""

    def refresh(self, epoch: int, seed: int) -> None:
        """Called before each epoch; plans what spans all anchors, e.g. caps on reuse."""

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The negative of one anchor. `rng` derives from (seed, epoch, case id)."""

    def summary(self) -> Mapping[str, Any]:
        """What happened so far: relaxations, partner use, distances. Logged and shown."""


@runtime_checkable
class MiningSampler(NegativeSampler, Protocol):
    """A sampler that looks for its negatives in what the model sees. Optional.

    `wants_features` may be False where the settings ask for no features: `mine` is not called.
    """

    wants_features: bool

    def mine(self, epoch: int, features: Mapping[str, np.ndarray]) -> None:
        """Called before `refresh(epoch, ..)` with (D,) float32 of each training case: its mean
        visual token under the weights at the start of the epoch, through a fixed random projection
        where the tokens are wide. Kept on disk, so that a resumed training mines the same."""


@runtime_checkable
class BatchSampler(NegativeSampler, Protocol):
    """A sampler whose negatives depend on who is read together. Optional."""

    def meet(self, anchors: Sequence[Case]) -> None:
        """Called with the anchors of a forward pass before each of them is drawn for. Raises
        UserError where they cannot serve."""


@runtime_checkable
class Loss(Protocol):
    """Step outputs -> the number to minimise, with its terms.

    Optional: `marks: tuple[str, ...]`, the masks of `StepOutput.marks` that it reads (its settings
    too), and `embeddings: tuple[str, ...]`, the embeddings that it reads and that cost extra.
    """

    uses_negative: bool

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        """`progress` runs from 0 to 1 over the training and drives schedules."""


@runtime_checkable
class Metric(Protocol):
    """Predictions -> scores with the protocol that produced them.

    Optional: `needs_model = True` on the class. `ctfw compare` then takes the numbers per case that
    the run wrote instead of running the model again.
    """

    needs_labels: bool

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Missing and empty texts count as empty hypotheses, never silently left out.

        label_names  those of the predictions' label vectors, in their order; empty: not known
        """


@runtime_checkable
class Labeler(Protocol):
    """Report text -> one 0/1 vector."""

    names: tuple[str, ...]
    signature: str

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, L) int8 in the order of `names`."""


@runtime_checkable
class Backbone(Protocol):
    """An image+text model with its processor.

    An image goes through three forms: a preprocessed `Volume`; `encode`d (what the vision tower
    reads); `see`n (visual tokens). The last two are the backbone's own type, opaque to others;
    `forward` and `generate` take either, so that visual tokens can be computed once and shared by
    a positive and a negative, by training and by evaluation.
    """

    def build(self, corpus: Sequence[str], seed: int) -> None:
        """Load or make the weights and the tokenizer; `corpus` serves where one is trained."""

    def module(self) -> torch.nn.Module:
        """Everything that has parameters, for the optimizer, the checkpoint and the device."""

    @property
    def tower(self) -> torch.nn.Module:
        """The vision tower inside `module()`, which a stage may train or freeze apart."""

    @property
    def prompt(self) -> str:
        """The prompt, as it is recorded beside the scores."""

    def encode(self, volume: Volume) -> Any:
        """Host side: a preprocessed volume -> the vision tower's input. No weights involved."""

    def visual_tokens(self, images: Sequence[Any]) -> list[torch.Tensor]:
        """(V_i, D) visual tokens of each encoded image, with gradient."""

    def token_grid(self, image: Any) -> tuple[int, int, int]:
        """(T, rows, columns) of an image's visual tokens: slices, top to bottom, left to right."""

    def see(self, images: Sequence[Any]) -> list[Any]:
        """The same images with their visual tokens computed, without gradient."""

    def forward(
        self, images: Sequence[Any], reports: Sequence[str], module: Any = None
    ) -> StepOutput:
        """Teacher-forced pass; `module` is the engine's wrapped form of `module()`."""

    def generate(
        self, images: Sequence[Any], settings: Generation, seed: int = 0
    ) -> list[tuple[str, str]]:
        """(text, "stop" or "length") of each image. Greedy when the temperature is 0."""

    def save(self, folder: Path) -> None:
        """Weights as safetensors, tokenizer and configuration; no pickle."""

    def load(self, folder: Path) -> None:
        """The inverse of `save`. Raises BadCheckpoint."""


@runtime_checkable
class PairBackbone(Protocol):
    """A backbone that reads anchors and their negatives in one call. Optional.

    Without it both go through `forward` as one batch.
    """

    def forward_pair(
        self,
        images: Sequence[Any],
        negatives: Sequence[Any],
        reports: Sequence[str],
        module: Any = None,
    ) -> list[StepOutput]:
        """[positives, negatives of the first anchors, negatives of the next, ...].

        `negatives[i]` is read with `reports[i]`; the groups are consecutive anchors, each of one
        or more. `module` is called once. A group's graph may be thrown away before the backward
        pass. An image that is the same object as another is encoded once.
        """


@runtime_checkable
class Stage(Protocol):
    """One step of a recipe."""

    def run(self, context: Context) -> StageResult: ...
