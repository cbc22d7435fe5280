"""Images are read once, in bounds of memory, and errors name the case."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.engine.images import ImageBank, TokenBank, ahead
from ctfw.errors import UnreadableVolume
from ctfw.testing import tiny_cases
from ctfw.types import Case, Negative, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream


class Reader:
    """Counts reads; `case-3` cannot be read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> SliceStream:
        if path.name.startswith("case-3."):
            raise UnreadableVolume(f"{path}: damaged")
        self.read.append(path.name.split(".")[0])
        affine = np.diag([-1.0, -1, 1, 1])
        return SliceStream.of(Volume(np.zeros((2, 4, 4), np.float32), affine, "normalised"))


class Counting:
    """A backbone whose tokens are the number of its `see` calls."""

    def __init__(self) -> None:
        self.encoded = 0
        self.seen: list[int] = []

    def encode(self, volume: Volume) -> np.ndarray:
        self.encoded += 1
        return volume.array

    def see(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.seen.append(len(images))
        return [image + 1 for image in images]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def bank_of(reader: Reader, memory: int = 1 << 20) -> ImageBank:
    return ImageBank(VolumePipeline(reader, [], []), memory)


def test_volume_is_read_once(reader: Reader) -> None:
    bank, case = bank_of(reader), tiny_cases()[0]
    assert bank.volume(case) is bank.volume(case)
    assert reader.read == ["case-0"]


def test_least_recently_used_leaves_first(reader: Reader) -> None:
    bank, cases = bank_of(reader, memory=3 * 128), tiny_cases()
    for i in (0, 1, 2, 0, 4):  # four volumes of 128 bytes: case 1 has to go
        bank.volume(cases[i])
    reader.read.clear()
    for i in (0, 2, 4, 1):
        bank.volume(cases[i])
    assert reader.read == ["case-1"]


def test_one_volume_may_be_larger_than_the_budget(reader: Reader) -> None:
    bank, cases = bank_of(reader, memory=1), tiny_cases()
    for i in (0, 0, 1, 1):
        bank.volume(cases[i])
    assert reader.read == ["case-0", "case-1"]


def test_error_names_case_and_file(reader: Reader) -> None:
    with pytest.raises(UnreadableVolume) as caught:
        bank_of(reader).volume(tiny_cases()[3])
    assert str(caught.value) == "case case-3: case-3.nii.gz: damaged"


def test_negative_is_another_case_or_a_change_of_the_anchor(reader: Reader) -> None:
    bank, cases = bank_of(reader), tiny_cases()
    assert bank.negative(cases[0], Negative(case=cases[5])) is bank.volume(cases[5])
    doubled = bank.negative(cases[0], Negative(transform=lambda v: v.but(array=v.array + 2)))
    assert (doubled.array == 2).all()
    assert (bank.volume(cases[0]).array == 0).all()


def test_chain_without_a_store_prepares_nothing(reader: Reader) -> None:
    assert bank_of(reader).prepare(tiny_cases()) == {}
    assert reader.read == []


def tokens_of(reader: Reader, frozen: bool, memory: int = 1 << 20) -> tuple[TokenBank, Counting]:
    backbone = Counting()
    bank = TokenBank(bank_of(reader), backbone, frozen=frozen, memory_bytes=memory)  # type: ignore[arg-type]
    return bank, backbone


def test_tokens_of_a_frozen_tower_are_computed_once(reader: Reader) -> None:
    bank, backbone = tokens_of(reader, frozen=True)
    cases = [case for case in tiny_cases() if case.id != "case-3"]
    bank.fill(cases, "read", batch=4)
    assert backbone.seen == [4, 4, 3]
    values = [bank.case(case) for case in cases]
    values.append(bank.negative(cases[0], Negative(case=cases[1])))
    assert backbone.encoded == 11
    assert all((value == 1).all() for value in values)
    bank.fill(cases, "read")
    assert backbone.encoded == 11


def test_tower_in_training_is_asked_each_time(reader: Reader) -> None:
    bank, backbone = tokens_of(reader, frozen=False)
    bank.fill(list(tiny_cases()), "read")
    assert backbone.encoded == 0
    for _ in range(2):
        assert (bank.case(tiny_cases()[0]) == 0).all()
    assert (backbone.encoded, backbone.seen) == (2, [])


def test_noise_is_seen_and_not_kept(reader: Reader) -> None:
    bank, backbone = tokens_of(reader, frozen=True)
    blur = Negative(transform=lambda volume: volume.but(array=volume.array + 5))
    for _ in range(2):
        assert (bank.negative(tiny_cases()[0], blur) == 6).all()
    assert backbone.seen == [1, 1]


def test_tokens_beyond_the_budget_are_computed_again(reader: Reader) -> None:
    bank, backbone = tokens_of(reader, frozen=True, memory=2 * 128)
    cases = tiny_cases()
    for _ in range(2):
        for i in (0, 1, 2):
            assert (bank.case(cases[i]) == 1).all()
    assert len(backbone.seen) == 4  # 0, 1 and 2 the first time, 2 again


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_results_keep_their_order(threads: int) -> None:
    def thunk(i: int) -> Any:
        def work() -> int:
            time.sleep(0.002 * (5 - i % 5))
            return i

        return work

    assert list(ahead((thunk(i) for i in range(20)), threads)) == list(range(20))


def test_only_a_few_are_computed_in_advance() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def thunk(i: int) -> Any:
        def work() -> int:
            with lock:
                started.append(i)
            return i

        return work

    results = ahead((thunk(i) for i in range(100)), threads=2, depth=4)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 6
    results.close()  # type: ignore[attr-defined]


def test_error_in_a_thread_reaches_the_loop() -> None:
    def fail() -> int:
        raise UnreadableVolume("case x: damaged")

    results = ahead(iter([lambda: 1, fail]), threads=2)
    assert next(results) == 1
    with pytest.raises(UnreadableVolume):
        next(results)


def test_case_is_given_to_the_chain(reader: Reader) -> None:
    told: list[Case | None] = []

    class Step:
        def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
            told.append(case)
            return volume

    bank = ImageBank(VolumePipeline(reader, [Step()], ["step"]))
    case = tiny_cases()[0]
    bank.volume(case)
    assert told == [case]
