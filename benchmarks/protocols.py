"""The same five pairs of made-up reports under each protocol: `python benchmarks/protocols.py`.

Prints the table that `docs/explanation/text_metrics.md` shows; `--write` keeps it. `--ptb FILE`
compares our Penn Treebank tokens with Stanford's instead, on the reports of a CSV file of yours
(needs Java and pycocoevalcap).
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from _summary import markdown

from ctfw.plugins import load_plugins
from ctfw.scoring.protocols import PROTOCOLS
from ctfw.scoring.ptb import ptb
from ctfw.scoring.ptb_java import ptb_java
from ctfw.types import Prediction

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "protocols.md"
PAIRS = 5
METRICS = ("bleu", "rouge-l", "rouge-n", "meteor", "cider")
SHOWN = ("bleu-1", "bleu-4", "rouge-l", "rouge-1", "rouge-2", "meteor", "cider")


def pairs() -> list[Prediction]:
    """The first five made-up reports, each with its first reference."""
    made = json.loads((HERE / "made_up_reports.json").read_text(encoding="utf-8"))[:PAIRS]
    return [
        Prediction(f"c{i}", f"p{i}", pair["generated"], pair["references"][0])
        for i, pair in enumerate(made)
    ]


def values(protocol: str, predictions: list[Prediction]) -> dict[str, float]:
    """Name -> value of every text metric under a protocol; METEOR without synonyms."""
    catalog = load_plugins(only="none").catalog
    found: dict[str, float] = {}
    for name in METRICS:
        component = catalog.get("metric", name)
        more = {"synonyms": "never"} if name == "meteor" else {}
        metric = component.load()(component.config(protocol=protocol, **more), None)
        found |= metric.score(predictions).values
    return found


def table() -> str:
    predictions = pairs()
    rows = []
    for protocol in PROTOCOLS:
        found = values(protocol, predictions)
        rows.append([f"`{protocol}`", *(f"{found[name]:.3f}" for name in SHOWN)])
    return markdown(["protocol", *SHOWN], rows)


def agreement(file: Path) -> str:
    """How far `ptb` gives the tokens of Stanford's PTBTokenizer on the column with reports."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    column = next(name for name in rows[0] if "report" in name.lower())
    texts = [" ".join(row[column].split()) for row in rows]
    theirs = ptb_java(texts)
    apart = sum(ptb(text) != tokens for text, tokens in zip(texts, theirs, strict=True))
    return f"{len(texts)} texts, {sum(map(len, theirs)):,} tokens: {apart} texts differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the table: {RESULTS.name}")
    parser.add_argument("--ptb", type=Path, metavar="FILE", help="a CSV with reports")
    asked = parser.parse_args()
    if asked.ptb:
        print(agreement(asked.ptb))
        return
    text = table()
    print(text)
    if asked.write:
        head = "<!-- Made by `python benchmarks/protocols.py --write` -->\n\n"
        title = "# The same five pairs under each protocol\n\n"
        RESULTS.write_text(f"{head}{title}{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
