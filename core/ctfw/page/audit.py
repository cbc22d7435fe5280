"""`audit.html`: what a model loses when its image is replaced, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ctfw.errors import UserError
from ctfw.page.headlines import headlines, macro_f1_column
from ctfw.page.overview import flat
from ctfw.page.records import Decoding, Loose, Number, ScoreFile, TokenGroup
from ctfw.page.view import environment, score_view, style
from ctfw.runs.files import read_json, read_lines, write_text
from ctfw.scoring.likelihood import IMAGES, OWN

_DEEPEST = 1.5  # nats; a word with this difference or more has the strongest colour
_FAINTEST = 0.1
_GROUPS = ("all", "positive", "negative", "sided", "side-words")


class Finding(Loose):
    """NLL per token of the sentences that state, or deny, one label; one number per image."""

    label: str
    stated: bool = True
    sentences: int = 0
    own: Number = None
    another: Number = None


class AuditFile(ScoreFile):
    """`audit.json`."""

    by_image: Mapping[str, Decoding] = {}
    model: Mapping[str, Any] = {}
    data: Mapping[str, Any] = {}
    split: str = ""
    seed: int | None = None
    failed: tuple[str, ...] = ()
    fail_if: tuple[str, ...] = ()


def build_audit_page(folder: Path) -> Path:
    """Write `audit.html` from what an audit's folder holds, and return its path.

    Raises UserError when there is no audit.json, when it cannot be read, or when the page cannot
    be written.
    """
    file = folder / "audit.json"
    if not file.is_file():
        raise UserError(f"{folder} holds no audit.json: the audit has not come to its end")
    plain = read_json(file)
    try:
        audit = AuditFile.model_validate(plain)
        findings = [Finding.model_validate(row) for row in _findings(plain)]
    except ValidationError as error:
        raise UserError(f"{file} does not fit: {error.errors()[0]['msg']}") from error
    target = folder / "audit.html"
    write_text(target, render(audit, findings, read_lines(folder / "words.jsonl")))
    return target


def render(
    audit: AuditFile, findings: list[Finding], lines: list[Mapping[str, Any]] | list[dict[str, Any]]
) -> str:
    """The page as text; `lines` are those of words.jsonl."""
    from markupsafe import Markup

    view = score_view(audit) | {"name": "audit"}
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            name=str(audit.model.get("recipe") or "a model"),
            synthetic=audit.synthetic,
            facts=facts(audit),
            headlines=headlines(audit),
            test=view,
            groups=_groups(audit.reliance.groups),
            images=image_rows(audit),
            findings=finding_rows(findings),
            words=[_painted(line) for line in lines],
            style=Markup(style()),
            svg=Markup,
            measured=list(flat({"model": audit.model, "data": audit.data})),
        )
    )


def facts(audit: AuditFile) -> list[tuple[str, str]]:
    """What was audited and on what, as (term, description)."""
    size = ""
    if audit.cases is not None:
        size = f"{audit.cases} cases of {audit.patients} patients, {audit.split} split"
    refused = audit.data.get("refused") or {}
    rows = [
        ("Data", ", ".join(filter(None, [str(audit.data.get("dataset") or ""), size]))),
        ("Checkpoint", str(audit.model.get("checkpoint") or "")),
        ("Left out", f"{len(refused)} scans that cannot be used" if refused else ""),
        ("Seed", "" if audit.seed is None else str(audit.seed)),
    ]
    return [(term, text) for term, text in rows if text]


def _groups(groups: Mapping[str, TokenGroup]) -> list[tuple[str, TokenGroup]]:
    return [(name, groups[name]) for name in _GROUPS if name in groups]


def image_rows(audit: AuditFile) -> list[dict[str, Any]]:
    """One row per image: macro-F1, gain, texts, and the likelihood by group of tokens."""
    column = macro_f1_column(audit.table)
    scores = {row.name: row.values.get(column) for row in audit.table.rows}
    groups = _groups(audit.reliance.groups)
    read = {name for _, group in groups for name in group.images} | set(audit.reliance.likelihood)
    rows = []
    for name in (each for each in IMAGES if each in read or each == OWN):
        cells = [group.images.get(name) for _, group in groups]
        rows.append(
            {
                "name": IMAGES[name],
                "own": name == OWN,
                "macro_f1": scores.get("model" if name == OWN else f"{name}-image"),
                "gain": audit.reliance.gains.get(name),
                "decoding": audit.by_image.get(name),
                "nll": [cell and (cell.nll if name == OWN else cell.more) for cell in cells],
            }
        )
    return rows


def finding_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """One row per label: its findings `stated` and `denied`, the most often stated label first."""
    labels: dict[str, dict[str, Any]] = {}
    for finding in findings:
        row = labels.setdefault(
            finding.label, {"label": finding.label, "stated": None, "denied": None}
        )
        row["stated" if finding.stated else "denied"] = finding
    return sorted(labels.values(), key=lambda row: -(row["stated"] or Finding(label="")).sentences)


def _findings(plain: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    reliance = plain.get("reliance")
    return list(reliance.get("findings") or ()) if isinstance(reliance, Mapping) else []


def _painted(line: Mapping[str, Any]) -> dict[str, Any]:
    """The words of a report with the strength of their colour, from -1 to 1; 0 is none."""
    words = []
    for text, value in line.get("words") or ():
        strength = max(-1.0, min(1.0, value / _DEEPEST)) if abs(value) >= _FAINTEST else 0.0
        words.append({"text": text, "value": value, "strength": round(strength, 2)})
    return {"case": line.get("case", ""), "words": words}
