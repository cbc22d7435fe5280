"""What a case costs a model, as far as it is known without the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ctfw.types import Volume


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of transformer layers; `intermediate` is the inner width of its MLP."""

    layers: int
    width: int
    intermediate: int


@dataclass(frozen=True)
class ModelPlan:
    """What a backbone will need for one case; None where it cannot be known here.

    grid                 (T, rows, columns) of visual tokens that the language model reads
    patches              positions of the image inside the vision tower
    prompt_tokens        text tokens in front of and behind the image, without the report
    context_length       positions that the language model was made for
    vision_parameters    number of parameters of the vision tower
    language_parameters  number of all others
    adapter_parameters   trained in place of the others' (LoRA), in float32; None: those train
    bytes_per_parameter  of the type in which the weights are held
    vision, language     their layers, for estimates of activations
    vocabulary           entries of a row of logits
    logit_memory         (report tokens of a pass, bytes per value, whether the head is trained) ->
                         bytes (kept until its backward pass, at work beside); None: all logits are
                         made at once
    count_tokens         reports -> tokens of each, end of turn included
    source               where the numbers come from, in words
    weights_here         whether the weights are on this machine, or are made by the run
    """

    grid: tuple[int, int, int]
    patches: int
    bytes_per_parameter: int
    source: str
    prompt_tokens: int | None = None
    context_length: int | None = None
    vision_parameters: int | None = None
    language_parameters: int | None = None
    adapter_parameters: int | None = None
    vision: Stack | None = None
    language: Stack | None = None
    vocabulary: int | None = None
    logit_memory: Callable[[int, int, bool], tuple[float, float]] | None = None
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None
    weights_here: bool = True

    @property
    def visual_tokens(self) -> int:
        """Visual tokens of one case."""
        t, rows, columns = self.grid
        return t * rows * columns

    @property
    def parameters(self) -> int | None:
        """Number of all parameters."""
        if self.vision_parameters is None or self.language_parameters is None:
            return None
        return self.vision_parameters + self.language_parameters


@runtime_checkable
class PlanningBackbone(Protocol):
    """A backbone that can say what a case will cost before its weights are there. Optional.

    `ctfw doctor` asks it, to compare lengths, memory and disk with what the machine has.
    """

    def plan(self, volume: Volume, corpus: Sequence[str]) -> ModelPlan:
        """The cost of one preprocessed volume; `corpus` serves where a tokenizer is trained.

        Loads no weights and asks no hub, and may be called before `build`. Raises BadData for a
        volume that `encode` would refuse.
        """
