"""An invented audit in the form that `ctfw audit` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fabricate_scores import make_scores

IMAGES = ("own", "another", "mirrored", "shuffled", "blank", "noise")


def make_audit(**changes: Any) -> dict[str, Any]:
    """`audit.json`: all images read, reports written with three of them."""
    facts = make_scores()
    gain = facts["reliance"]["grounded_gain"]
    facts["reliance"]["gains"] = {
        "another": gain,
        "mirrored": {"value": 0.02, "low": -0.01, "high": 0.05},
    }
    for group in facts["reliance"]["groups"].values():
        for name in ("mirrored", "shuffled"):
            group["images"][name] = group["images"]["another"]
    facts["reliance"]["findings"] = [
        {"label": "Lung nodule", "stated": True, "sentences": 40, "own": 0.31, "another": 0.92},
        {"label": "Lung nodule", "stated": False, "sentences": 70, "own": 0.1, "another": 0.12},
        {"label": "Hiatal hernia", "stated": False, "sentences": 9, "own": 0.2, "another": None},
    ]
    written = facts["generation"] | {
        "top_sentence": "heart size is normal.",
        "top_sentence_reports": 0.71,
        "top_sentence_reports_references": 0.42,
        "distinct_references": 117,
    }
    return facts | {
        "generation": written,
        "by_image": {"own": written, "another": written, "mirrored": written | {"distinct": 3}},
        "model": {"checkpoint": "step-000900", "recipe": "ours-heter", "step": 900},
        "data": {"dataset": "phantom", "recipe": "ours-heter", "of": 120, "refused": {}},
        "split": "test",
        "seed": 0,
        "failed": [],
        "fail_if": ["grounded_gain < 0.1"],
    } | changes  # fmt: skip


def fabricate_audit(folder: Path, **changes: Any) -> Path:
    """A folder with audit.json and words.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(make_audit(**changes)))
    words = [["There is", 0.02], [" a", 0.05], [" <b>nodule</b>", 2.5], [" on the left.", -0.7]]
    lines = [{"case": f"p{i}", "patient": f"p{i}", "words": words} for i in range(3)]
    (folder / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
