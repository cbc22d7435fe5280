"""Tokenisers. Each turns a text into tokens; a score is comparable only under the same one.

The same five report pairs differ by a third in BLEU-4 by tokeniser alone (the table is in
`docs/explanation/text_metrics.md`), so every score names the protocol that made it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from ctfw.scoring.porter import stem
from ctfw.scoring.ptb import ptb

Tokeniser = Callable[[str, bool], list[str]]

# What R2Gen's sentence cleaner deletes; the class in its source has the range from ":" to "[".
_R2GEN_DELETED = str.maketrans("", "", ".,?;*!%^&_+():<=>@[]{}\"/\\'")
_VLM3D_DELETED = ("<|eot_id|>", '"', "_")
_ROUGE_WORD = re.compile(r"[a-z0-9]+")
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_MTEVAL_RULES = (
    # ASCII punctuation except apostrophe, comma, hyphen and full stop
    (re.compile(r"([!-&(-+/:-@\[-`{-~ ])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def r2gen(text: str, generated: bool = False) -> list[str]:
    """R2Gen's cleaning of MIMIC-CXR reports, which CT2Rep took over: lower case, enumerations and
    punctuation deleted, sentences joined by " . " (Chen et al., EMNLP 2020).

    Its oddities are kept: "1. " vanishes anywhere, 4.5 becomes 45, the hyphen stays, and a
    sentence of punctuation alone leaves a lone full stop. One is not: a text without a letter or
    digit has no tokens, because the lone full stop would give an empty generation a score.
    """
    flat = re.sub(r"\.{2,}", ".", re.sub(" {2,}", " ", text.replace("\n", " ")))
    flat = flat.replace("1. ", "")
    for start, end in ((". ", ". "), (" ", ". ")):
        for number in "2345":
            flat = flat.replace(f"{start}{number}. ", end)
    sentences = flat.strip().lower().split(". ")
    cleaned = [sentence.translate(_R2GEN_DELETED).strip() for sentence in sentences]
    if not any(character.isalnum() for sentence in cleaned for character in sentence):
        return []
    return (" . ".join(cleaned) + " .").split()


def whitespace(text: str, generated: bool = False) -> list[str]:
    """Split at white space; case and punctuation kept (pycocoevalcap by itself, RadEval)."""
    return text.split()


def vlm3d(text: str, generated: bool = False) -> list[str]:
    """The VLM3D challenge's nlg_metrics.py: line breaks vanish, " . " and " ." become ".", and some
    marks go from predictions only."""
    return _vlm3d_text(text, generated).split()


def vlm3d_spaces(text: str, generated: bool = False) -> list[str]:
    """As `vlm3d`, for ROUGE-L: pycocoevalcap's splits at single blanks there, so that each further
    blank in a row is an empty token. An empty text has none."""
    cleaned = _vlm3d_text(text, generated)
    return cleaned.split(" ") if cleaned.strip() else []


def rouge_score(text: str, generated: bool = False) -> list[str]:
    """The `rouge-score` package without stemming: lower case, runs of [a-z0-9]."""
    return _ROUGE_WORD.findall(text.lower())


def rouge_score_stem(text: str, generated: bool = False) -> list[str]:
    """The `rouge-score` package with stemming: Porter's stem of words of more than 3 letters."""
    return [stem(word) if len(word) > 3 else word for word in _ROUGE_WORD.findall(text.lower())]


def mteval_13a(text: str, generated: bool = False) -> list[str]:
    """`13a` of sacrebleu (Post, WMT 2018), which is NIST's mteval-v13a: punctuation split off, full
    stop and comma kept inside numbers, case kept."""
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        line = line.replace(entity, character)
    line = f" {line} "
    for pattern, replacement in _MTEVAL_RULES:
        line = pattern.sub(replacement, line)
    return line.split()


def mteval_intl(text: str, generated: bool = False) -> list[str]:
    """`intl` of sacrebleu, which is NIST's mteval-v14: as 13a for the punctuation and the symbols
    of all scripts, where Unicode's categories say what is which."""
    numbers, punctuation, symbols = _categories()
    line = re.sub(f"([^{numbers}])([{punctuation}])", r"\1 \2 ", text.rstrip())
    line = re.sub(f"([{punctuation}])([^{numbers}])", r" \1 \2", line)
    return re.sub(f"([{symbols}])", r" \1 ", line).split()


def characters(text: str, generated: bool = False) -> list[str]:
    """`char` of sacrebleu: every character but white space is a token."""
    return list("".join(text.split()))


TOKENISERS: dict[str, Tokeniser] = {
    "r2gen": r2gen,
    "whitespace": whitespace,
    "vlm3d": vlm3d,
    "vlm3d-spaces": vlm3d_spaces,
    "rouge-score": rouge_score,
    "rouge-score+stem": rouge_score_stem,
    "13a": mteval_13a,
    "intl": mteval_intl,
    "char": characters,
    "ptb": lambda text, generated: ptb(text),
}


def tokenise(texts: Sequence[str], tokeniser: str, generated: bool = False) -> list[list[str]]:
    """Tokens of each text. `generated`: these are predictions, which vlm3d cleans more.

    Raises KeyError for an unknown tokeniser.
    """
    if tokeniser == "ptb-java":
        from ctfw.scoring.ptb_java import ptb_java

        return ptb_java(texts)
    split = TOKENISERS[tokeniser]
    return [split(text, generated) for text in texts]


def _vlm3d_text(text: str, generated: bool) -> str:
    cleaned = text.replace("\n", "")
    for mark in _VLM3D_DELETED if generated else ():
        cleaned = cleaned.replace(mark, "")
    return cleaned.replace(" . ", ".").replace(" .", ".")


@lru_cache(maxsize=1)
def _categories() -> tuple[str, str, str]:
    """The insides of three character classes: Unicode's numbers, punctuation and symbols."""
    groups: dict[str, list[int]] = {"N": [], "P": [], "S": []}
    for code in range(0x110000):
        group = unicodedata.category(chr(code))[0]
        if group in groups:
            groups[group].append(code)
    numbers, punctuation, symbols = (_ranges(groups[group]) for group in "NPS")
    return numbers, punctuation, symbols


def _ranges(codes: Iterable[int]) -> str:
    """`\\U000000a1-\\U000000a3...`: sorted code points as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
