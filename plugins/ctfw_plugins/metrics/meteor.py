"""METEOR as nltk computes it (Lavie and Agarwal, WMT 2007); not METEOR 1.5, the Java program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.errors import MissingPackage
from ctfw.scoring.meteor import meteor, wordnet
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import MeteorConfig
from ctfw_plugins.metrics.text_input import NamedProtocol, mean_of_cases


class Meteor:
    """Value `meteor`: the mean over cases. The signature names the stages that were used."""

    needs_labels = False

    def __init__(self, config: MeteorConfig, context: Any = None) -> None:
        """Raises MissingPackage where WordNet is required and not installed."""
        self.protocol = NamedProtocol(config.protocol, config.ptb)
        self.synonyms = None if config.synonyms == "never" else wordnet()
        if config.synonyms == "required" and self.synonyms is None:
            raise MissingPackage(
                "metric 'meteor': synonyms need WordNet; run `pip install nltk` and "
                "`python -m nltk.downloader wordnet`, or set `synonyms: never`"
            )

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with a value per case, which resampling averages."""
        pairs = self.protocol.encode(predictions)
        stages = "exact+stem" if self.synonyms is None else "exact+stem+wordnet"
        signature = self.protocol.signature("mean of cases", "meteor-nltk", stages)
        return mean_of_cases(
            predictions, pairs, {"meteor": meteor(pairs, self.synonyms)}, signature
        )
