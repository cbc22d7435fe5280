"""Scoring a file of predictions: the reading, and the judges where no recipe names any."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ctfw.component import Block
from ctfw.errors import UserError
from ctfw.plugins import Plugins

if TYPE_CHECKING:
    from ctfw.engine.judges import Judges
    from ctfw.scoring.assess import Assessment

METRICS = ("bleu", "rouge-l", "coverage", "accuracy")
"""What every system is compared by, `ctfw compare`'s choice for files."""
TEXT_METRICS = ("bleu", "rouge-l", "rouge-n", "meteor", "cider")
ALL_METRICS = (*TEXT_METRICS, "coverage", "accuracy", "coverage-by-size")
LABELER = "ct-rate-18"


@dataclass(frozen=True)
class Choice:
    """Who judges: components in the words of a recipe, empty where nothing was chosen."""

    protocols: Sequence[str] = ()
    metrics: Sequence[str] = ()
    labeler: str = ""

    def blocks(self, plugins: Plugins) -> list[Block]:
        """The metrics; each that has a protocol once for each protocol. Raises UserError."""
        from ctfw.recipe.inline import inline_block

        chosen = dict.fromkeys(self.metrics or ALL_METRICS)
        made = [inline_block(text, "metric", plugins.catalog, "--metric") for text in chosen]
        return under_protocols(made, self.protocols)

    def judges(self, plugins: Plugins) -> Judges:
        """Labeler and metrics, built. Raises UserError."""
        from ctfw.engine.context import Context
        from ctfw.engine.judges import Judges
        from ctfw.recipe.inline import inline_block

        text = self.labeler or LABELER
        labeler = inline_block(text, "labeler", plugins.catalog, "--labeler")
        return Judges.build(labeler, self.blocks(plugins), Context())


def under_protocols(blocks: Sequence[Block], protocols: Sequence[str]) -> list[Block]:
    """The blocks, those whose settings have a `protocol` once for each of `protocols`; one that
    was given a protocol of its own keeps it.

    Raises UserError for an unknown one, and where no block has the setting.
    """
    from ctfw.scoring.protocols import protocol_named

    if not protocols:
        return list(blocks)
    names = [protocol_named(name).name for name in dict.fromkeys(protocols)]
    if not any(hasattr(block.settings, "protocol") for block in blocks):
        raise UserError("--protocol: none of the metrics has a protocol to choose")
    made: list[Block] = []
    for block in blocks:
        open_choice = "protocol" not in block.settings.model_fields_set
        if not hasattr(block.settings, "protocol") or not open_choice:
            made.append(block)
            continue
        for name in names:
            settings = block.settings.model_dump(exclude_unset=True) | {"protocol": name}
            made.append(Block(block.component, type(block.settings)(**settings)))
    return made


def score_file(
    path: Path,
    choice: Choice,
    plugins: Plugins,
    columns: Mapping[str, str],
    train: Path | None = None,
    references: Path | None = None,
) -> Assessment:
    """Other people's predictions beside the floors of their training reports.

    Raises UserError and BadData: what is wrong with the file, the references or the choice.
    """
    from ctfw.scoring.assess import assess
    from ctfw.scoring.predictions import read_predictions
    from ctfw.scoring.references import read_references, read_reports

    judges = choice.judges(plugins)
    cases = read_references(references, columns) if references is not None else None
    predictions = read_predictions(path, columns, cases, None)
    reports = read_reports(train) if train is not None else []
    if reports and {case.report for case in reports} == {p.reference for p in predictions}:
        print(f"{train} holds the references: is it the test split? Floors need the training split",
              file=sys.stderr)  # fmt: skip
    return assess(predictions, judges.metrics, judges.labeler, reports)


def read_columns(texts: Sequence[str]) -> dict[str, str]:
    """Our field -> the file's name for it, of the texts of `--column`. Raises UserError."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]:
        raise UserError(f"--column {wrong[0]}: write FIELD=NAME, e.g. --column case=VolumeName")
    found: dict[str, str] = {}
    for field, _, name in pairs:
        if field.strip() in found:
            raise UserError(f"--column {field.strip()} is given twice; keep one")
        found[field.strip()] = name.strip()
    return found
