"""What the pages share: templates, style sheet, and a set of scores as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from ctfw.page import overview
from ctfw.page.canvas import Picture
from ctfw.page.figures import label_dumbbells
from ctfw.page.records import LabelScore, ScoreFile
from ctfw.page.reliance_figures import image_dots

if TYPE_CHECKING:
    from jinja2 import Environment

_STYLES = ("style.css", "browser.css", "print.css")


def environment() -> Environment:
    """The templates of the pages, with the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("ctfw.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.filters["span"] = overview.span
    return made


def style() -> str:
    """The style sheet of the pages."""
    return "\n".join(asset(name) for name in _STYLES)


def asset(name: str) -> str:
    """The text of a file that lies beside this module."""
    return resources.files("ctfw.page").joinpath(name).read_text(encoding="utf-8")


def number(value: float | None, digits: int = 3) -> str:
    """A score as text, with a real minus sign, none before 0.00; a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{value:z.{digits}f}".replace("-", "−")


def score_view(scores: ScoreFile) -> dict[str, Any]:
    """What the templates of a score table, of likelihoods and of labels are given."""
    shown, every = overview.split_columns(scores.table)
    return {
        "scores": scores,
        "columns": shown,
        "every_column": every,
        "rows": overview.ordered_rows(scores.table),
        "protocols": overview.protocols(scores.table),
        "generation": overview.generation_sentences(scores.generation),
        "likelihood": overview.likelihood_table(scores.reliance),
        "image_picture": image_dots(scores.reliance.groups),
        "label_pictures": label_pictures(scores.labels),
    }


def label_pictures(labels: Sequence[LabelScore]) -> list[Picture]:
    """Coverage and F1 of each label, own image against another patient's."""
    drawn = (
        label_dumbbells(labels, "coverage", "Coverage (recall)"),
        label_dumbbells(labels, "f1", "F1"),
    )
    return [picture for picture in drawn if picture]
