"""Packed labels differ in as many bits as the labels do, with either count of bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw_plugins.samplers import codes
from ctfw_plugins.samplers.codes import count_bits_by_table, distances, pack

WIDTHS = (0, 1, 6, 8, 9, 14, 16, 18, 32, 33, 64, 65, 130)


@pytest.mark.parametrize("table", [False, True])
@given(st.sampled_from(WIDTHS), st.integers(1, 9), st.integers(0, 999))
def test_distance_is_the_number_of_labels_that_differ(
    table: bool, width: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((2, count, width)) < rng.random()).astype(np.int8)
    words, others = pack(labels[0]), pack(labels[1])
    differ = (labels[0] != labels[1]).sum(1)
    with pytest.MonkeyPatch.context() as patch:
        if table:
            patch.setattr(codes, "count_bits", count_bits_by_table)
        assert distances(words, others).tolist() == differ.tolist()
        from_first = (labels[0] != labels[1, 0]).sum(1)
        assert distances(words, others[0]).tolist() == from_first.tolist()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.sampled_from("1248"))
def test_table_counts_the_bits_of_words_of_each_size(values: list[int], size: str) -> None:
    words = np.array([value % 2 ** (8 * int(size)) for value in values], f"u{size}")
    counted = count_bits_by_table(words)
    assert counted.dtype == np.uint8
    assert counted.tolist() == [int(word).bit_count() for word in words]


@pytest.mark.parametrize(
    ("labels", "size", "words"), [(6, 1, 1), (14, 2, 1), (18, 4, 1), (64, 8, 1), (65, 8, 2)]
)
def test_eighteen_labels_fit_one_word_of_32_bits(labels: int, size: int, words: int) -> None:
    packed = pack(np.ones((3, labels), np.int8))
    assert packed.shape == (3, words)
    assert packed.dtype.itemsize == size
