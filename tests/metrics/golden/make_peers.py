"""What coco-caption's own code says of made-up texts: `python tests/metrics/golden/make_peers.py`.

Needs Java and the extra `peers`. Writes coco.json, the scores of `benchmarks/made_up_reports.json`,
and ptb.json, the tokens of those texts and of odd_texts.txt by Stanford's PTBTokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

HERE = Path(__file__).resolve().parent
REPORTS = HERE.parents[2] / "benchmarks" / "made_up_reports.json"


def scores(gts: dict[int, list[str]], res: dict[int, list[str]]) -> dict[str, Any]:
    """Corpus and per-case scores of tokenised texts."""
    bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, rouge_each = Rouge().compute_score(gts, res)
    cider, cider_each = Cider().compute_score(gts, res)
    return {
        "bleu": list(bleu),
        "bleu_each": [list(row) for row in bleu_each],
        "rouge_l": float(rouge),
        "rouge_l_each": [float(value) for value in rouge_each],
        "cider": float(cider),
        "cider_each": [float(value) for value in cider_each],
    }


def ptb(texts: dict[int, list[str]]) -> dict[int, list[str]]:
    """Tokens joined by blanks. The lexer looks into the next line, so each text is followed by a
    line that no sentence begins with."""
    lines = {key: [{"caption": text} for text in group] for key, group in texts.items()}
    apart = {
        (key, i): [entry, {"caption": "zeta"}]
        for key, g in lines.items()
        for i, entry in enumerate(g)
    }
    found = PTBTokenizer().tokenize(apart)
    return {key: [found[key, i][0] for i in range(len(group))] for key, group in texts.items()}


def main() -> None:
    reports = json.loads(REPORTS.read_text(encoding="utf-8"))
    gts = {i: report["references"] for i, report in enumerate(reports)}
    res = {i: [report["generated"]] for i, report in enumerate(reports)}
    joined = [
        {i: [" ".join(text.split()) for text in group] for i, group in side.items()}
        for side in (gts, res)
    ]
    tokens = [ptb(side) for side in (gts, res)]
    found = {"whitespace": scores(*joined), "coco_ptb": scores(*tokens)}
    (HERE / "coco.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    texts = (HERE / "odd_texts.txt").read_text(encoding="utf-8").splitlines()
    texts += [text for report in reports for text in (report["generated"], *report["references"])]
    lines = [
        [text, tokens[0].split()]
        for text, tokens in zip(texts, ptb({i: [t] for i, t in enumerate(texts)}).values())
    ]
    text = ",\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (HERE / "ptb.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
