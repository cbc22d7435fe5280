"""Porter's stemmer equals nltk's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from ctfw.scoring.porter import measure, stem

SUFFIXES = (
    "ational tional enci anci izer bli abli alli entli eli ousli ization ation ator alism iveness "
    "fulness ousness aliti iviti biliti fulli logi logy icate ative alize iciti ical ful ness al "
    "ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize e ll s ss sses "
    "ies ied eed ed ing y ally"
)
WORD = st.builds(
    lambda start, ends: start + "".join(ends),
    st.text(alphabet="aeiouybcdlstzrnvwx", max_size=6),
    st.lists(st.sampled_from(SUFFIXES.split()), max_size=3),
)


@settings(max_examples=1000, deadline=None)
@given(WORD | st.text(max_size=12))
def test_stem_equals_nltks(word: str) -> None:
    assert stem(word) == PorterStemmer().stem(word)


@pytest.mark.parametrize(
    ("word", "size"), [("tree", 0), ("by", 0), ("trouble", 1), ("oats", 1), ("private", 2)]
)
def test_measure_is_that_of_porters_examples(word: str, size: int) -> None:
    assert measure(word) == size


def test_stems_of_report_words_meet() -> None:
    assert {stem(word) for word in ("nodule", "nodules")} == {"nodul"}
    assert {stem(word) for word in ("calcified", "Calcify")} == {"calcifi"}
    assert stem("dying") == "die"
