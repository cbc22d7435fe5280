"""Named, frozen scoring protocols: what a text metric's number depends on besides the texts.

A protocol fixes tokeniser and case, smoothing and brevity of BLEU, the weight of recall and the
choice among several references in ROUGE, the stages of METEOR and the constants of CIDEr. Its
signature is printed with every number. A protocol never changes: what would change a number gets a
new version.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctfw.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class Protocol:
    """How text metrics are computed under one name.

    tokeniser  of BLEU, ROUGE-N, METEOR and CIDEr (`ctfw.scoring.tokens`); `for_rouge_l` and
               `stemmed` where ROUGE-L or stemmed ROUGE has one of its own
    smoothing  of BLEU (`ctfw.scoring.smoothing`); the brevity penalty is by the closest reference
    beta       weight of recall in ROUGE-L, and `best_of` of several references: "f" the best F,
               "parts" the best precision and the best recall
    mean_bleu  whether the mean of BLEU-1 to BLEU-4 is given as well
    defines    the metrics that the source itself has; others are ours, on its tokens
    """

    name: str
    tokeniser: str
    smoothing: str
    beta: float
    best_of: str
    source: str
    defines: tuple[str, ...]
    for_rouge_l: str = ""
    stemmed: str = ""
    mean_bleu: bool = False
    version: int = 1

    def signature(self, level: str, *details: str, references: int = 1) -> str:
        """e.g. `r2gen|corpus|smooth:none|refs:1|v1`."""
        parts = (self.name, level, *details, f"refs:{references}", f"v{self.version}")
        return "|".join(parts)


_COCO = ("bleu", "rouge-l", "cider")
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "r2gen", "r2gen", "none", 1.2, "parts", "R2Gen, R2GenCMN, CT2Rep: cleaned text", _COCO
        ),
        Protocol(
            "vlm3d",
            "vlm3d",
            "coco",
            1.2,
            "parts",
            "the VLM3D challenge's nlg_metrics.py: raw text, cased, pycocoevalcap",
            _COCO,
            for_rouge_l="vlm3d-spaces",
            mean_bleu=True,
        ),
        Protocol("coco_ptb", "ptb", "coco", 1.2, "parts", "coco-caption with PTBTokenizer", _COCO),
        Protocol("sacrebleu", "13a", "exp", 1.0, "f", "sacrebleu's default BLEU", ("bleu",)),
        Protocol(
            "rouge_score",
            "rouge-score",
            "none",
            1.0,
            "f",
            "the package rouge-score",
            ("rouge-l", "rouge-n"),
            stemmed="rouge-score+stem",
        ),
        Protocol(
            "whitespace", "whitespace", "none", 1.2, "parts", "coco-caption on raw text", _COCO
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name. Raises UserError with a suggestion."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        hint = did_you_mean(name, PROTOCOLS)
        raise UserError(
            f"there is no protocol '{name}'; there are {', '.join(PROTOCOLS)}"
            + (f" ({hint})" if hint else "")
        ) from None
