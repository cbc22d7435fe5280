"""Scoring a file of predictions: the reading, and the judges where no recipe names any."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ctfw.component import Block
from ctfw.errors import BadData, UserError
from ctfw.plugins import Plugins

if TYPE_CHECKING:
    from ctfw.engine.judges import Judges
    from ctfw.scoring.assess import Assessment
    from ctfw.types import Case, CaseTable

METRICS = ("bleu", "rouge-l", "coverage", "accuracy")
"""What every system is compared by, `ctfw compare`'s choice for files."""
ALL_METRICS = ("bleu", "rouge-l", "meteor", "cider", "coverage", "accuracy", "coverage-by-size")
LABELER = "ct-rate-18"
REPORT_COLUMNS = ("report", "reference", "text", "report_text", "Findings_EN")
CASE_COLUMNS = ("case", "id", "VolumeName", "image")


@dataclass(frozen=True)
class Choice:
    """Who judges: components in the words of a recipe, empty where nothing was chosen."""

    protocols: Sequence[str] = ()
    metrics: Sequence[str] = ()
    labeler: str = ""

    def blocks(self, plugins: Plugins) -> list[Block]:
        """The metrics; each that has a protocol once for each protocol. Raises UserError."""
        from ctfw.recipe.inline import inline_block

        chosen = self.metrics or ALL_METRICS
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
    """The blocks, those whose settings have a `protocol` once for each of `protocols`.

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
        if not hasattr(block.settings, "protocol"):
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

    judges = choice.judges(plugins)
    cases = read_references(references) if references is not None else None
    predictions = read_predictions(path, columns, cases)
    if any(p.labels is not None or p.reference_labels is not None for p in predictions):
        print(f"labels in {path} are not used: {_named(choice)} reads both texts", file=sys.stderr)
    reports = read_reports(train) if train is not None else ()
    return assess(predictions, judges.metrics, judges.labeler, reports)


def _named(choice: Choice) -> str:
    return choice.labeler or LABELER


def read_columns(texts: Sequence[str]) -> dict[str, str]:
    """Our field -> the file's name for it, of the texts of `--column`. Raises UserError."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]:
        raise UserError(f"--column {wrong[0]}: write FIELD=NAME, e.g. --column case=VolumeName")
    return {field.strip(): name.strip() for field, _, name in pairs}


def read_reports(path: Path) -> list[Case]:
    """Training reports of a CSV, JSON or JSON-lines file, for the floors. Raises BadData."""
    from ctfw.scoring.rows import read_rows
    from ctfw.types import Case

    rows = read_rows(path)
    column = _column(path, rows, REPORT_COLUMNS, "reports")
    return [
        Case(f"{path.name}:{number}", f"{number}", path, str(row.get(column) or "").strip())
        for number, row in rows
    ]


def read_references(path: Path) -> CaseTable:
    """Cases with their references, for predictions that bring none. Raises BadData."""
    from ctfw.scoring.predictions import patient_of
    from ctfw.scoring.rows import read_rows
    from ctfw.types import Case, CaseTable

    rows = read_rows(path)
    case = _column(path, rows, CASE_COLUMNS, "case ids")
    report = _column(path, rows, REPORT_COLUMNS, "reports")
    found: dict[str, Case] = {}
    for number, row in rows:
        name = str(row.get(case) or "").strip()
        if not name:
            raise BadData(f"{path}:{number}: the case id is empty")
        if name in found:
            raise BadData(f"{path}:{number}: case '{name}' is there twice; keep one reference")
        patient = str(row.get("patient") or "").strip() or patient_of(name)
        found[name] = Case(name, patient, path, str(row.get(report) or "").strip())
    return CaseTable(tuple(found.values()), ())


def _column(
    path: Path, rows: Sequence[tuple[int, Mapping[str, object]]], known: Sequence[str], what: str
) -> str:
    """The first of `known` that the rows have. Raises BadData."""
    present = {str(key) for _, row in rows for key in row}
    for name in known:
        if name in present:
            return name
    raise BadData(
        f"{path}: no column with {what}; name it one of {', '.join(known)} (the file has "
        f"{', '.join(sorted(present))})"
    )
