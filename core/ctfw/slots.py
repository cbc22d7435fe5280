"""Fields of a settings model that hold a component or refer to another stage.

The slots belong to the component that has them, not to the core: a new stage brings its own
and the resolver, the JSON Schema and `ctfw show` work unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from ctfw.component import Block


@dataclass(frozen=True, slots=True)
class Slot:
    """Mark of a field that holds a component of `kind` (one, optional, or a list of them)."""

    kind: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A placeholder that `ctfw.recipe.export` turns into the installed components."""
        return {"x-slot": self.kind}


@dataclass(frozen=True, slots=True)
class Needs:
    """Mark of a field that names another stage's product: `tune/best` or `tune`."""

    product: str


UseDataset = Annotated[Block, Slot("dataset")]
UseVolumeLoader = Annotated[Block, Slot("volume_loader")]
UsePreprocessor = Annotated[Block, Slot("preprocessor")]
UseNegativeSampler = Annotated[Block, Slot("negative_sampler")]
UseLoss = Annotated[Block, Slot("loss")]
UseMetric = Annotated[Block, Slot("metric")]
UseLabeler = Annotated[Block, Slot("labeler")]
UseBackbone = Annotated[Block, Slot("backbone")]

FromCheckpoint = Annotated[str, Needs("checkpoint")]
FromPredictions = Annotated[str, Needs("predictions")]
