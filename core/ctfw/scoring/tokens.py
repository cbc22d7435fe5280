"""Tokenisers by protocol. A score is comparable only under the same protocol.

The same five report pairs score BLEU-4 from 0.246 to 0.335 by tokeniser alone, so every score
names the protocol that made it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# What R2Gen's cleaner (Chen et al. 2020) deletes from a lower-cased sentence; the hyphen stays.
_R2GEN_DELETED = str.maketrans("", "", ".,?;*!%^&_+():<=>@[]{}\"/\\'")
_ENUMERATION = re.compile(r"(?:(?<=\s)|^)(?:[1-9])\. ")
_VLM3D_DELETED = re.compile(r'"|_|<\|eot_id\|>')
_ROUGE_SPLIT = re.compile(r"[^a-z0-9]+")


def r2gen(text: str, generated: bool = False) -> list[str]:
    """R2Gen's report cleaning: lower case, no punctuation, sentences joined by " . ".

    A text without a letter or digit has no tokens: R2Gen's own code would leave a lone full stop,
    which would give an empty generation a score.
    """
    flat = re.sub(r"\.{2,}", ".", " ".join(text.split()))
    sentences = _ENUMERATION.sub("", flat).lower().split(". ")
    cleaned = [sentence.translate(_R2GEN_DELETED).split() for sentence in sentences]
    tokens: list[str] = []
    for words in cleaned:
        if words:
            tokens += [*words, "."]
    return tokens if any(character.isalnum() for character in flat) else []


def whitespace(text: str, generated: bool = False) -> list[str]:
    """Split at white space; case and punctuation kept (pycocoevalcap, RadEval)."""
    return text.split()


def vlm3d(text: str, generated: bool = False) -> list[str]:
    """The VLM3D challenge: line breaks vanish, " ." becomes ".", marks go from predictions only."""
    joined = text.replace("\n", "").replace(" .", ".")
    return (_VLM3D_DELETED.sub("", joined) if generated else joined).split()


def rouge_score(text: str, generated: bool = False) -> list[str]:
    """The `rouge-score` package without stemming: lower case, runs of [a-z0-9]."""
    return [token for token in _ROUGE_SPLIT.split(text.lower()) if token]


PROTOCOLS: dict[str, Callable[[str, bool], list[str]]] = {
    "r2gen": r2gen,
    "whitespace": whitespace,
    "vlm3d": vlm3d,
    "rouge-score": rouge_score,
}


def tokenise(texts: Sequence[str], protocol: str, generated: bool = False) -> list[list[str]]:
    """Tokens of each text. Raises KeyError for an unknown protocol."""
    split = PROTOCOLS[protocol]
    return [split(text, generated) for text in texts]
