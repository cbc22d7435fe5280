"""`report.html` of a run: everything on one page, and nothing that the page must fetch."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ctfw.errors import UserError
from ctfw.page import cases, figures, overview, validation
from ctfw.page.canvas import Picture
from ctfw.page.headlines import headlines
from ctfw.page.negatives import bound_sentence, negative_sentences
from ctfw.page.reading import read_run
from ctfw.page.records import ReportStage, Run, TrainLog
from ctfw.page.view import asset, environment, score_view, style
from ctfw.runs.files import write_text

_SCRIPTS = ("viewer.js", "browser.js")


def build_page(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report page of a run and return its path (`<run_dir>/report.html` by default).

    A function of the directory's content alone: it runs at the end of a run, after a failure, or
    years later. What is missing is said on the page. Raises UserError when `run_dir` is no
    directory or the page cannot be written.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is not a run directory; give the folder that holds status.json")
    html = render(read_run(run_dir))
    target = Path(out) if out is not None else run_dir / "report.html"
    write_text(target, html)
    return target


def render(run: Run) -> str:
    """The page as text."""
    from markupsafe import Markup

    script = "\n".join(asset(name) for name in _SCRIPTS)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            name=run.resolved.get("name") or run.folder.name,
            summary=run.resolved.get("summary") or "",
            synthetic=overview.is_synthetic(run),
            state=overview.state_sentence(run),
            error=overview.error_text(run),
            facts=overview.facts(run),
            headlines=_top(run),
            training=[_training(run, log) for log in run.training],
            tests=[_test(test) for test in run.tests],
            lock=list(overview.flat(run.lock)),
            stage_seconds=run.status.get("stages") or {},
            verdicts=cases.VERDICTS,
            style=Markup(style()),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            svg=Markup,
        )
    )


def _top(run: Run) -> list[Any]:
    """Headlines of the last stage that has scores."""
    scored = [test.scores for test in run.tests if test.scores]
    return headlines(scored[-1]) if scored else []


def _training(run: Run, log: TrainLog) -> dict[str, Any]:
    pictures = [
        figures.loss_curves(log),
        figures.reliance_curve(log),
        figures.validation_curve(log),
    ]
    negatives = log.negatives
    return {
        "title": overview.stage_title(run, log.name),
        "pictures": [picture for picture in pictures if picture],
        "bound": bound_sentence(log),
        "measured_once": validation.sentences(log),
        "negatives": negatives,
        "told": negative_sentences(negatives) if negatives else [],
        "negative_pictures": _negative_pictures(log),
    }


def _negative_pictures(log: TrainLog) -> list[Picture]:
    if log.negatives is None:
        return []
    drawn = (
        figures.partner_use(log.negatives, log.name),
        figures.distances(log.negatives, log.name),
        figures.burden_gaps(log.negatives, log.name),
    )
    return [picture for picture in drawn if picture]


def _test(test: ReportStage) -> dict[str, Any]:
    data = cases.browser_data(test)
    view: dict[str, Any] = {
        "name": test.name,
        "scores": None,
        "browser": data,
        "labels": cases.filter_labels(data["cases"]),
        "printed": cases.printed_cases(test),
        "label_pictures": [],
    }
    return view | score_view(test.scores) if test.scores else view
