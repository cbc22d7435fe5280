"""Settings of the sampler; every field has a description, for `ctfw plugins` and for editors."""

from __future__ import annotations

from ctfw import Strict
from pydantic import Field, model_validator


class HardConfig(Strict):
    """Another patient's scan that differs from the anchor in few labels, but in some."""

    min_conflicts: int = Field(
        1, ge=1, description="labels present in one of the two and absent in the other, at least"
    )
    max_label_distance: int = Field(4, ge=1, description="the same count, at most")
    pool: int = Field(5, ge=1, description="the partner is drawn among this many nearest ones")
    max_uses: int = Field(2, ge=1, description="times a partner may serve per epoch")

    @model_validator(mode="after")
    def _leave_room(self) -> HardConfig:
        if self.min_conflicts > self.max_label_distance:
            raise ValueError(
                f"min_conflicts ({self.min_conflicts}) is above max_label_distance "
                f"({self.max_label_distance}), so that no partner could qualify"
            )
        return self
