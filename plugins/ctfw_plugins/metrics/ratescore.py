"""RaTEScore: similarity of medical entities, aware of synonyms and negation.

Zhao et al., "RaTEScore", EMNLP 2024. For each entity of one report the most similar entity of the
other is taken, weighted by the pair of their types and lowered where one denies what the other
states; the score is the harmonic mean of both directions. The package `RaTEScore` does the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ctfw.errors import BadCheckpoint
from ctfw.local_models import (
    device_of,
    model_folder,
    offline,
    reason_of,
    weights_fingerprint,
)
from ctfw.progress import track
from ctfw.scoring.labels import mean_defined
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import RateScoreConfig
from ctfw_plugins.metrics.judged_pairs import (
    import_package,
    notes_on_empty,
    version_of,
    without_asking,
)

INSTALL = "pip install RaTEScore medspacy pandas"
WITHOUT_ENTITIES = 0.5  # what the package returns where a side has no entity


class RateScore:
    """Value `ratescore`, the mean of cases.

    An empty generated text scores 0; an empty reference gives NaN, and the notes count it. Where a
    text holds no entity, the package returns 0.5: the notes count such cases.
    """

    needs_labels = False
    needs_model = True

    def __init__(self, config: RateScoreConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Raises MissingPackage without `RaTEScore`, UserError without its weights."""
        values, asked = without_asking(predictions)
        if asked:
            scorer = self._scorer
            for row in track(asked, "RaTEScore", len(asked)):
                values[row] = self._pair(scorer, predictions[row])
        return Scores(
            values={"ratescore": float(mean_defined(values))},
            protocol=self.protocol,
            per_case={"ratescore": values},
            notes=tuple(self._notes(predictions, values, asked)),
        )

    @cached_property
    def protocol(self) -> str:
        """Models, weights of pairs of types, and version."""
        config = self.config
        entities = weights_fingerprint(model_folder(config.entities, "ratescore.entities"))
        embeddings = weights_fingerprint(model_folder(config.embeddings, "ratescore.embeddings"))
        return (
            f"mean of cases|entities:{entities}|embeddings:{embeddings}|matrix:{config.matrix}|"
            f"package:{version_of('RaTEScore')}"
        )

    def _pair(self, scorer: Any, prediction: Prediction) -> float:
        """One pair by itself: a text in which the package finds no sentence gets no score at all,
        and in a longer list every later score would stand at the wrong case."""
        with offline():
            found = scorer.compute_score([prediction.generated], [prediction.reference])
        return float(found[0]) if len(found) == 1 else float("nan")

    @cached_property
    def _scorer(self) -> Any:
        config = self.config
        with offline():
            package = import_package("RaTEScore", "ratescore", "RaTEScore with medspacy", INSTALL)
        # It loads whatever it is given, pickled or not: only safetensors may lie in the folders.
        entities = model_folder(config.entities, "ratescore.entities")
        embeddings = model_folder(config.embeddings, "ratescore.embeddings")
        device = device_of(config.device, "ratescore.device")
        try:
            with offline():
                return package.RaTEScore(
                    bert_model=str(entities),
                    eval_model=str(embeddings),
                    use_gpu=device != "cpu",
                    affinity_matrix=config.matrix,
                )
        except MemoryError:
            raise
        except Exception as error:  # what the readers raise for damaged files has no common base
            raise BadCheckpoint(
                f"ratescore: the models in {config.entities} and {config.embeddings} cannot be "
                f"loaded: {reason_of(error)}"
            ) from error

    def _notes(
        self, predictions: Sequence[Prediction], values: np.ndarray, asked: Sequence[int]
    ) -> Iterator[str]:
        yield from notes_on_empty("ratescore", predictions, "mean")
        if none := int(np.isnan(values[list(asked)]).sum()):
            yield f"ratescore: {none} pairs in which the package finds no sentence: NaN"
        if half := int((values[list(asked)] == WITHOUT_ENTITIES).sum()):
            yield f"ratescore: {half} cases are exactly 0.5, its value where a text has no entity"
