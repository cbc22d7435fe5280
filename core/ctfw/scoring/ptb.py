"""Penn Treebank tokens as coco-caption has them, without Java.

coco-caption runs Stanford's PTBTokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) and drops
punctuation. This is a lexer of our own with the same behaviour on reports: at each place the rule
with the longest match, context included, makes the token. How far the two agree, and on what they
do not, is measured in `docs/explanation/text_metrics.md`.

What is peculiar and kept: brackets stay as `-lrb-`, because they are dropped in upper case only;
`lung.Heart` without a blank is one word; `3.5x4` is `3.5` and `x4`; `4.5mm` is `4.5` and `mm`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_DROPPED = "'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;"
PUNCTUATION = frozenset(_DROPPED.split())
"""What coco-caption drops; the brackets never occur in lower case."""
LONGEST = 1000
"""A chunk without a blank that is longer is no word: it is cut, so that time stays linear."""

_APOSTROPHE = r"(?:['\u2019\u0092]|&apos;)"
_QUOTE = r"(?:['\u2019\u0092`\u2018\u0091\u201b]|&apos;)"
# No superscripts, subscripts and fractions, which Python counts among the word characters.
_NOT_LETTERS = r"\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u215e\u2460-\u249b"
_LETTER = rf"(?:[^\W\d_{_NOT_LETTERS}]|[\u0300-\u036f])"
_ALNUM = rf"[^\W_{_NOT_LETTERS}]"
_WORD = rf"{_LETTER}(?:{_LETTER}|\d)*(?:[.!?]{_LETTER}(?:{_LETTER}|\d)*)*"
_CLITIC = rf"{_APOSTROPHE}(?:m|s|d|re|ve|ll|em)"
_NUMBER = r"(?:\d*(?:[.:,]\d+)+|\d+)"
_ACRONYM = r"[A-Za-z](?:\.[A-Za-z])+"
_ELIDED = rf"(?:[dol]'{_ALNUM})?"
_THING = rf"{_ELIDED}{_ALNUM}+(?:[-_\u2010\u2011]{_ELIDED}{_ALNUM}+)*"
_HYPHENATED = rf"[A-Za-z\d][A-Za-z\d.,]*(?:-(?:[A-Za-z\d]+|{_ACRONYM}\.))+"
_PART = r"[A-Za-z\d]+(?:-[A-Za-z]+){0,2}"
_SLASHED = rf"{_PART}(?:\\?/{_PART}){{1,2}}"
_URL_END = r"""[^\s<>|.!?,;:&`"'()\[\]{}-]"""
_DOMAIN = r"""[^\s<>|.!?,:/$`()\[\]{}]+\."""
_SITE = rf"(?:www\.(?:{_DOMAIN})+[A-Za-z]{{2,4}}|(?:{_DOMAIN})+(?:com|net|org|edu))"

# Kept with their full stop wherever they stand; the second list not before a letter.
_ABBREVIATIONS = (
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thurs Fri Ala Ariz "
    "Calif Colo Conn Ct Dak Fla Ga Ind Kan Kans Ky Md Mich Minn Mo Mont Neb Nev Okla Penn Tenn Va "
    "Vt Wis Wisc Wyo Inc Co Cos Corp Pty Ptys Pte Ptes Ppty Ltd Plc Rt Bancorp Bhd Assn Univ Intl "
    "Sys tel est ext sq Jr Sr Bros Ed.D Ph.D B.Sc D.Sc M.Sc LL.B LL.D LL.M Esq etc al seq Bldg "
    "Blvd Rd"
)
_CAPITALISED = "Az Ark Del Ill La Mass Miss Ore Pa Tex Wash"
_TITLES = (
    "Mr Mrs Ms Dr Drs Prof Profs Sen Sens Rep Reps Atty Attys Lt Col Gen Messrs Gov Govs Adm Rev "
    "Maj Sgt Cpl Pvt Capt St Ste Ave Pres Lieut Hon Brig Cmdr Comdr Pfc Spc Supt Supts Det Mt Ft "
    "Adj Adv Asst Assoc Ens Insp Mlle Mme Msgr Sfc Invt Elec Natl Mfg Mtg Dept Wm Jos Cie cf TREAS "
    "Ph vs"
)
_FRACTIONS = {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_BEFORE_NUMBERS = "ca fig figs prop no nos art pp op"
# A single letter before its full stop ends a sentence where one of these comes next.
_OPENING_WORDS = (
    "a an the this that these there they their then we what when while yet you if in it he her "
    "here however she since so some such once one other our now more many mr. ms. last earlier but "
    "after as at about according additionally"
)
_OPENERS = frozenset(_OPENING_WORDS.split())


def _any_of(words: str) -> str:
    longest_first = sorted(words.split(), key=len, reverse=True)
    return "(?:" + "|".join(map(re.escape, longest_first)) + ")"


class _Rule(NamedTuple):
    """group(1) is the token, what follows it is context; `text` replaces the token's own."""

    pattern: re.Pattern[str]
    text: str | None = None


def _rules() -> Iterable[_Rule]:
    """In order of precedence, which decides between matches of one length."""

    def rule(token: str, context: str = "", text: str | None = None, exact: bool = False) -> _Rule:
        flags = re.NOFLAG if exact else re.IGNORECASE
        return _Rule(re.compile(f"({token})(?:{context})", flags), text)

    yield rule(r"c\+\+|[cf]#")
    yield rule("can", "not")
    yield rule("'t", "was|is")
    yield rule("gon|wan", "na")
    yield rule("got", "ta")
    yield rule("lem|gim", "me")
    yield rule("&(?:m|n)dash;", text="--")
    yield rule("&amp;", text="&")
    yield rule("&nbsp;", text="")
    yield rule(_WORD, f"(?:{_CLITIC}){{1,2}}")
    yield rule("[a-z]*[a-mo-z]", f"n{_APOSTROPHE}t(?:{_CLITIC})?")
    yield rule(rf"{_CLITIC}|n{_APOSTROPHE}t", "[^A-Za-z]")
    yield rule(_WORD)
    yield rule(rf"[A-HJ-XZn]{_QUOTE}{_LETTER}{{2,}}", exact=True)
    yield rule(
        rf"[ldj]{_QUOTE}|{_APOSTROPHE}(?:em|till?|cause|[2-9]0s)|c{_QUOTE}(?:est|mon)|"
        rf"o{_QUOTE}clock|ol{_QUOTE}"
    )
    yield rule("'n'")
    yield rule("'n", "[^A-Za-z]")
    yield rule(r"'\d\d", r"[^\w.]")
    yield rule(f"y{_APOSTROPHE}", "[a-z]")
    yield rule(rf"(?:ftp|https?)://[^\s<>|`\"(){{}}\[\]]+{_URL_END}")
    yield rule(rf"{_SITE}(?:/[^\s<>|`]+{_URL_END})?")
    yield rule(r"[A-Z0-9][^\s\"<>|(){}@]*@(?:[^\s\"<>|(){}.@]+\.)*[^\s\"<>|(){}.]+")
    yield rule(rf"@[A-Z_][A-Z\d_]*|#{_LETTER}+")
    yield rule(r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}")
    yield rule(rf"[-+]?{_NUMBER}")
    raised, lowered = "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+", "[\u2080-\u2089]+"
    yield rule(f"[\u207a\u207b\u208a\u208b]?(?:{raised}|{lowered})")
    yield rule(r"(?:\d{1,4}-)?\d{1,4}(?:\\?/|\u2044)\d{1,4}")
    yield rule(_THING)
    yield rule(r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", exact=True)
    yield rule(_SLASHED)
    yield rule(rf"{_any_of(_ABBREVIATIONS)}\.", r"[\s\S]{2}")
    yield rule(rf"{_any_of(_CAPITALISED)}\.", r"[\s\S]{2}", exact=True)
    yield rule(rf"{_any_of(_BEFORE_NUMBERS)}\.", r" ?\d")
    yield rule("[A-Za-z]", r"\. A", exact=True)  # "A" stands for one of `_OPENERS`
    yield rule(rf"(?:{_ACRONYM}|[A-Z]|{_any_of(_TITLES)})\.")
    yield rule(rf"(?:{_WORD}|{_THING}|{_HYPHENATED})\.", "[,;:\u3001]")
    yield rule(_HYPHENATED)
    yield rule(r"[A-Z]*\$|#", exact=True)
    yield rule("\u00a3", text="#")
    yield rule("[\u20ac\u0080\u20a0\u00a4]", text="$")
    yield rule("\u00a2", text="cents")
    yield rule(r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]", exact=True)
    yield rule(r"[-^x=~<>']_[-^x=~<>']", exact=True)
    yield rule(r"\.{3,5}|\u2026", text="...")
    yield rule(r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+")
    yield rule("[-\u2010-\u2015]+", text="--")
    yield rule("&lt;", text="<")
    yield rule("&gt;", text=">")
    marks = "\u2018\u2019\u201b\u201c\u201d\u2039\u203a\u00ab\u00bb"
    yield rule(rf"&quot;|['`\u2018\u2019]'|[\"'`{marks}]", text="''")
    for bracket, name in zip("()[]{}", ("lrb", "rrb", "lsb", "rsb", "lcb", "rcb")):
        yield rule(re.escape(bracket), text=f"-{name}-")
    for fraction, name in _FRACTIONS.items():
        yield rule(fraction, text=name)
    yield rule(r"[^\s\x00-\x1f\x7f-\x9f]")


_RULES = tuple(_rules())
_WRITTEN = str.maketrans({"(": "-lrb-", ")": "-rrb-", "\u2019": "'", "\u0092": "'"})
_TAG = re.compile(
    r"<(?:[!?][A-Za-z-][^>\r\n]*|/[A-Za-z][\w:.-]*|"
    r"[A-Za-z][\w:.-]*(?: +[A-Za-z][\w:.-]*(?: *= *(?:'[^'\"\r\n]*'|\"[^'\"\r\n]*\"))?)* */?)>",
    re.ASCII,
)
_FRACTION = re.compile(r"\d{1,4}/\d{1,4}")


def ptb(text: str) -> list[str]:
    """Tokens of a text in lower case, without punctuation."""
    text = text.replace("\u00ad", "")  # a soft hyphen shows at the end of a line only
    tokens: list[str] = []
    start = 0
    for tag in _TAG.finditer(text) if "<" in text else ():
        tokens += _untagged(text[start : tag.start()], text[tag.start() :])
        tokens += tag.group().lower().split()
        start = tag.end()
    return tokens + _untagged(text[start:], "")


def without_punctuation(tokens: Iterable[str]) -> list[str]:
    """The tokens that coco-caption keeps."""
    return [token for token in tokens if token not in PUNCTUATION]


def _untagged(text: str, following: str) -> list[str]:
    tokens: list[str] = []
    chunks = text.split()
    number_before = False
    for chunk, after in zip(chunks, [*chunks[1:], following[:1]]):
        kind = _kind(after)
        fraction = _FRACTION.match(chunk) if number_before else None
        if fraction:  # "2 1/2" is one number, so the fraction ends where its digits do
            tokens.append(fraction.group())
            chunk = chunk[fraction.end() :]
        for cut in range(0, len(chunk), LONGEST):
            tokens += _tokens(chunk[cut : cut + LONGEST], kind)
        number_before = bool(tokens) and _ends_in_number(chunk, tokens[-1])
    return tokens


def _ends_in_number(chunk: str, token: str) -> bool:
    return token.isdecimal() and len(token) <= 4 and chunk.endswith(token)


def _kind(after: str) -> str:
    """What stands for the chunk after a blank: `5` for a number, `A` for a word (or a tag) that
    opens a sentence, `a` for anything else and the end of the text."""
    if after[:1].isdecimal():
        return "5"
    opens = after[:1].isupper() and after.lower() in _OPENERS
    return "A" if opens or after == "<" else "a"


@lru_cache(maxsize=1 << 16)
def _tokens(chunk: str, following: str) -> tuple[str, ...]:
    """Tokens of a chunk without blanks, before a blank and what `_kind` says of the next."""
    line = f"{chunk} {following}"
    place, tokens = 0, []
    while place < len(chunk):
        best, length, text = place + 1, 0, ""
        for pattern, replacement in _RULES:
            match = pattern.match(line, place)
            if match and match.end() - place > length:
                best, length = match.end(1), match.end() - place
                text = match.group(1) if replacement is None else replacement
        place = best
        if text and text not in PUNCTUATION:
            tokens.append(text.translate(_WRITTEN).lower())
    return tuple(tokens)
