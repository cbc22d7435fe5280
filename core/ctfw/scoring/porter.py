"""Porter's stemmer ("An algorithm for suffix stripping", Program 14(3), 1980) with the departures
of nltk's default mode, which METEOR and the package rouge-score use: a short list of irregular
words, no change to words of two letters, ies and ied of four-letter words to ie, y to i after a
consonant alone, and the suffixes alli, bli, fulli and logi.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Condition = Callable[[str], bool]
Rule = tuple[str, str, Condition]

_IRREGULAR = {"skies": "sky", "dying": "die", "lying": "lie", "tying": "tie"}
_IRREGULAR |= {"innings": "inning", "outings": "outing", "cannings": "canning"}
_KEPT = "sky news inning outing canning howe proceed exceed succeed"
_IRREGULAR |= {word: word for word in _KEPT.split()}


def shape(word: str) -> str:
    """ "c" or "v" for each letter; y is a vowel after a consonant."""
    kinds: list[str] = []
    kind = "v"
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and kind == "c" and bool(kinds))
        kind = "v" if vowel else "c"
        kinds.append(kind)
    return "".join(kinds)


def measure(word: str) -> int:
    """Porter's m: how often a vowel is followed by a consonant."""
    return shape(word).count("vc")


def _has_measure(word: str) -> bool:
    return measure(word) > 0


def _has_measure_2(word: str) -> bool:
    return measure(word) > 1


def _always(word: str) -> bool:
    return True


def _ends_cvc(word: str) -> bool:
    """Porter's *o, and a vowel with a consonant as the whole word."""
    kinds = shape(word)
    return (kinds[-3:] == "cvc" and word[-1] not in "wxy") or kinds == "vc"


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and shape(word)[-1] == "c"


def _pairs(text: str, condition: Condition) -> tuple[Rule, ...]:
    """`"ational>ate ness>"` as rules of one condition."""
    rules = (part.partition(">") for part in text.split())
    return tuple((suffix, replacement, condition) for suffix, _, replacement in rules)


_PLURALS = _pairs("sses>ss ies>i ss>ss s>", _always)
_SUFFIXES_2 = (
    *_pairs(
        "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e "
        "ousli>ous ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous "
        "aliti>al iviti>ive biliti>ble fulli>ful",
        _has_measure,
    ),
    ("logi", "log", lambda before: _has_measure(before + "l")),
)
_SUFFIXES_3 = _pairs("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>", _has_measure)
_SUFFIXES_4 = (
    *_pairs("al> ance> ence> er> ic> able> ible> ant> ement> ment> ent>", _has_measure_2),
    ("ion", "", lambda before: _has_measure_2(before) and before[-1] in "st"),
    *_pairs("ou> ism> ate> iti> ous> ive> ize>", _has_measure_2),
)


def stem(word: str) -> str:
    """The stem of a word, in lower case."""
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = word[:-1] if len(word) == 4 and word.endswith("ies") else _replace(word, _PLURALS)
    word = _past_or_gerund(word)
    if word.endswith("y") and len(word) > 2 and shape(word)[-2] == "c":
        word = word[:-1] + "i"
    while word.endswith("alli") and _has_measure(word[:-4]):
        word = word[:-2]
    for rules in (_SUFFIXES_2, _SUFFIXES_3, _SUFFIXES_4):
        word = _replace(word, rules)
    return _final_e_and_l(word)


def _replace(word: str, rules: Sequence[Rule]) -> str:
    """The first rule whose suffix fits decides, also where its condition does not hold."""
    for suffix, replacement, condition in rules:
        if word.endswith(suffix):
            before = word[: -len(suffix)]
            return before + replacement if condition(before) else word
    return word


def _past_or_gerund(word: str) -> str:
    """Step 1b: eed, ed and ing, and what their loss leaves."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _has_measure(word[:-3]) else word
    for suffix in ("ed", "ing"):
        before = word.removesuffix(suffix)
        if before != word and "v" in shape(before):
            return _repaired(before)
    return word


def _repaired(word: str) -> str:
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _ends_double(word):
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if measure(word) == 1 and _ends_cvc(word) else word


def _final_e_and_l(word: str) -> str:
    """Step 5: a last e, and the second of two l."""
    before = word[:-1]
    if word.endswith("e"):
        size = measure(before)
        if size > 1 or (size == 1 and not _ends_cvc(before)):
            word = before
    if word.endswith("ll") and measure(word[:-1]) > 1:
        word = word[:-1]
    return word
