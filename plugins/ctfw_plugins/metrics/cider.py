"""CIDEr-D (Vedantam et al., CVPR 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.scoring.cider import SIGMA, cider_d
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import CiderConfig
from ctfw_plugins.metrics.text_input import NamedProtocol, mean_of_cases

ONE_CASE = "CIDEr of one case is 0: its weights come from how references differ"


class Cider:
    """Value `cider`, between 0 and 10: tf-idf likeness of n-grams, less where lengths differ.

    The weights come from the references that are scored, so that numbers of two test sets do not
    compare. Resampling keeps the weights of the whole set.
    """

    needs_labels = False

    def __init__(self, config: CiderConfig, context: Any = None) -> None:
        self.protocol = NamedProtocol(config.protocol, config.ptb)

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with a value per case, which resampling averages."""
        pairs = self.protocol.encode(predictions)
        details = ("cider-d", "n:4", f"sigma:{SIGMA:g}", "idf:these references")
        signature = self.protocol.signature("mean of cases", *details)
        notes = (ONE_CASE,) if len(predictions) == 1 else ()
        return mean_of_cases(predictions, pairs, {"cider": cider_d(pairs)}, signature, notes)
