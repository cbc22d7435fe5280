"""Label vectors as machine words: how many labels differ is exclusive or and a count of bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_BITS_OF = np.array([value.bit_count() for value in range(2**16)], np.uint8)


def pack(labels: np.ndarray) -> np.ndarray:
    """(N, L) of 0 and 1 -> (N, W) words: one of 8, 16, 32 or 64 bits, or several of 64.

    Two rows of words differ in as many bits as the labels differ in places.
    """
    octets = np.packbits(labels, axis=1)
    width = octets.shape[1]
    size = next((size for size in (1, 2, 4, 8) if size >= width), 8)
    words = np.zeros((len(labels), max(1, -(-width // size)) * size), np.uint8)
    words[:, :width] = octets
    return words.view(f"u{size}")


def distances(words: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, W) words against (W,) or (N, W) others -> (N,) number of labels that differ."""
    bits = count_bits(words ^ others)
    return bits[:, 0] if bits.shape[1] == 1 else bits.sum(1, dtype=np.uint16)


def count_bits_by_table(words: np.ndarray) -> np.ndarray:
    """Number of bits that are set in each unsigned word; uint8 of the same shape."""
    word = words.dtype.type
    low = word(min(2**16 - 1, int(np.iinfo(word).max)))
    bits = np.zeros(words.shape, np.uint8)
    for shift in range(0, 8 * words.dtype.itemsize, 16):
        bits += _BITS_OF[(words >> word(shift)) & low]
    return bits


# NumPy has a count of its own from version 2 on.
count_bits: Callable[[np.ndarray], np.ndarray] = getattr(np, "bitwise_count", count_bits_by_table)
