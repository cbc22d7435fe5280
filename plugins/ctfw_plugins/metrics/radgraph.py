"""RadGraph F1: entities and relations that a model finds in both reports.

RadGraph (Jain et al., NeurIPS Datasets 2021) is about chest X-ray, RadGraph-XL (Delbrouck et al.,
Findings of ACL 2024) also about CT of chest and abdomen, and MR of the brain. The three rewards are
those of Delbrouck et al., Findings of EMNLP 2022: simple compares (tokens, label) of entities,
partial also whether an entity has a relation, complete the relations themselves. The package
`radgraph` does the work.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadCheckpoint, UserError
from ctfw.local_models import device_of, offline, reason_of
from ctfw.progress import track
from ctfw.scoring.labels import mean_defined
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import RadGraphConfig
from ctfw_plugins.metrics.judged_pairs import (
    import_package,
    notes_on_empty,
    version_of,
    without_asking,
)

NAMES = ("radgraph-simple", "radgraph-partial", "radgraph-complete")
SETTING = "radgraph.weights"
INSTALL = "pip install 'radgraph>=0.1.18'"
_SAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # the package loads weights.th without weights_only


class RadGraphF1:
    """Values `radgraph-simple`, `radgraph-partial` and `radgraph-complete`, means of cases.

    An empty generated text scores 0; an empty reference gives NaN, and the notes count it.
    """

    needs_labels = False
    needs_model = True

    def __init__(self, config: RadGraphConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Raises MissingPackage without `radgraph`, UserError without its weights."""
        values, asked = without_asking(predictions)
        table = np.repeat(values[:, None], 3, axis=1)
        for row in track(asked, "RadGraph", len(asked)):
            table[row] = self._rewards(predictions[row])
        columns = {name: table[:, i] for i, name in enumerate(NAMES)}
        return Scores(
            values={name: float(mean_defined(column)) for name, column in columns.items()},
            protocol=f"mean of cases|{self.config.model}|package:{version_of('radgraph')}",
            per_case=columns,
            notes=tuple(self._notes(predictions, table[asked])),
        )

    def _rewards(self, prediction: Prediction) -> np.ndarray:
        """(3,) simple, partial and complete F1 of one pair; NaN where the package fails on it."""
        try:
            with quiet():
                _, rewards, *_ = self._scorer(
                    refs=[prediction.reference], hyps=[prediction.generated]
                )
        except KeyError:  # it prints what went wrong with a text, goes on, and misses the result
            return np.full(len(NAMES), np.nan)
        table = np.asarray(rewards, float)
        if table.shape != (len(NAMES), 1):
            raise UserError(
                f"radgraph {version_of('radgraph')} gives rewards of shape {table.shape} for one "
                f"pair, not three lists of one: install another version ({INSTALL})"
            )
        return table[:, 0]

    @cached_property
    def _scorer(self) -> Any:
        """The package's scorer; it downloads what it does not find, so the folder is checked."""
        config = self.config
        package = self._package
        folder = config.weights.expanduser()
        inner = folder / config.model
        if not (inner / "config.json").is_file() or not (inner / "weights.th").is_file():
            raise UserError(
                f"{SETTING}: {inner} lacks config.json or weights.th. Nothing is downloaded here: "
                f"unpack {config.model}.tar.gz of StanfordAIMI/RRG_scorers into it"
            )
        device = device_of(config.device, "radgraph.device")
        number = -1 if device == "cpu" else int(device.partition(":")[2] or 0)
        try:
            with quiet():
                return package.F1RadGraph(
                    reward_level="all",
                    model_type=config.model,
                    model_cache_dir=str(folder),
                    tokenizer_cache_dir=_text(config.tokenizers),
                    cuda=number,
                )
        except MemoryError:
            raise
        except Exception as error:  # what the package raises has no common base
            raise BadCheckpoint(
                f"{SETTING}: radgraph cannot load {inner}: {reason_of(error)}. It also needs the "
                "tokenizer and the configuration of the encoder that config.json names, in the "
                "cache of the hub (radgraph.tokenizers)"
            ) from error

    @cached_property
    def _package(self) -> Any:
        with quiet():
            return import_package("radgraph", "radgraph", "radgraph", INSTALL)

    def _notes(self, predictions: Sequence[Prediction], found: np.ndarray) -> Iterator[str]:
        if predictions and self.config.model == "radgraph":
            yield "radgraph: trained on chest X-ray; it may not know the words of CT"
        yield from notes_on_empty("radgraph", predictions)
        if failed := int(np.isnan(found).any(1).sum()):
            yield f"radgraph: {failed} pairs on which the package fails: NaN"


@contextmanager
def quiet() -> Iterator[None]:
    """No network, no pickles, and nothing of what the package prints among our results."""
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        with offline(), redirect_stdout(sys.stderr):
            yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())
