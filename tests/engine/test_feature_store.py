"""Visual tokens on disk: computed once for a tower and a volume, and again where in doubt."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctfw.engine import features
from ctfw.engine.features import FeatureStore, hash_of, weights_hash
from ctfw.engine.images import ImageBank, TokenBank
from ctfw.errors import UnreadableVolume
from ctfw.testing import tiny_cases
from ctfw.types import Case, Negative, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream


@dataclass(frozen=True)
class Image:
    """Encoded: the mean of a volume. Seen: tokens."""

    mean: float
    tokens: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.tokens is None else self.tokens.nbytes


class Tower:
    """A backbone of one layer that counts what it computes."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(1, 3).to(dtype)
        self.dtype = dtype
        self.seen: list[int] = []

    def encode(self, volume: Volume) -> Image:
        return Image(float(volume.array.mean()))

    @torch.no_grad()
    def see(self, images: Sequence[Image]) -> list[Image]:
        self.seen.append(len(images))
        means = torch.tensor([[image.mean] for image in images], dtype=self.dtype)
        rows = self.layer(means)
        return [Image(i.mean, row[None]) for i, row in zip(images, rows, strict=True)]

    def features_key(self) -> str | None:
        return weights_hash(self.layer)

    def pack(self, image: Image) -> dict[str, torch.Tensor]:
        assert image.tokens is not None
        return {"tokens": image.tokens, "mean": torch.tensor(image.mean, dtype=torch.float64)}

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> Image:
        return Image(float(tensors["mean"]), tensors["tokens"])


class Step:
    def __init__(self, add: float) -> None:
        self.add = add

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return volume.but(array=volume.array + self.add)


def read(path: Path) -> SliceStream:
    content = float(path.read_text())
    array = np.full((2, 4, 4), content, np.float32)
    return SliceStream.of(Volume(array, np.diag([-1.0, -1, 1, 1]), "normalised"))


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Seven cases, each with a file that holds its number."""
    made = []
    for i, case in enumerate(tiny_cases(7)):
        file = tmp_path / f"scan-{i}"
        file.write_text(str(i / 10))
        made.append(Case(case.id, case.patient, file, case.report))
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def bank_of(tower: Tower, add: float = 0.0, begin: bool = True, memory: int = 1 << 20) -> TokenBank:
    images = ImageBank(VolumePipeline(read, [Step(add)], [f"add {add}"]))
    return TokenBank(images, tower, frozen=True, begin=begin, memory_bytes=memory)  # type: ignore[arg-type]


def values(bank: TokenBank, cases: Sequence[Case]) -> list[list[float]]:
    return [bank.case(case).tokens.flatten().tolist() for case in cases]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_second_run_computes_nothing(cases: list[Case], dtype: torch.dtype) -> None:
    first, second = Tower(dtype=dtype), Tower(dtype=dtype)
    bank = bank_of(first)
    bank.fill(cases, "read", batch=3)
    assert first.seen == [3, 3, 1]
    again = bank_of(second)
    again.fill(cases, "read", batch=3)
    assert second.seen == []
    assert values(again, cases) == values(bank, cases)
    assert again.case(cases[0]).tokens.dtype == dtype
    third = Tower(dtype=dtype)
    assert values(bank_of(third, begin=False), cases) == values(bank, cases)
    assert third.seen == []


@pytest.mark.parametrize("change", ["weight", "type", "step", "scan"])
def test_whatever_the_tokens_depend_on_changes_the_key(cases: list[Case], change: str) -> None:
    bank_of(Tower()).fill(cases, "read")
    tower, add = Tower(), 0.0
    if change == "weight":
        with torch.no_grad():
            tower.layer.bias[2] += 1e-6
    elif change == "type":
        tower = Tower(dtype=torch.float64)
    elif change == "step":
        add = 0.5
    else:
        cases[0].image.write_text("9.5")
    bank = bank_of(tower, add)
    expected = tower.layer(torch.tensor([[9.5 if change == "scan" else add]], dtype=tower.dtype))
    torch.testing.assert_close(bank.case(cases[0]).tokens, expected.detach())
    assert tower.seen == [1]


def test_copy_of_a_scan_shares_its_entry(cases: list[Case], tmp_path: Path) -> None:
    bank_of(Tower()).fill(cases, "read")
    copy = tmp_path / "elsewhere"
    copy.write_text(cases[2].image.read_text())
    tower = Tower()
    bank_of(tower).case(Case("other", "p", copy, "r"))
    assert tower.seen == []


def entry_of(cache: Path, bank: TokenBank, case: Case) -> Path:
    (found,) = cache.glob(f"features/*/{bank.images.pipeline.identity(case.image, case)}*")
    return found


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_entry_is_computed_again(cases: list[Case], cache: Path, damage: str) -> None:
    bank = bank_of(Tower())
    bank.fill(cases, "read")
    entry = entry_of(cache, bank, cases[1])
    whole = entry.read_bytes()
    broken = {
        "cut": whole[:-3],
        "flipped": whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:],
        "empty": b"",
        "other": b"no safetensors at all",
    }
    entry.write_bytes(broken[damage])
    tower = Tower()
    assert values(bank_of(tower), cases) == values(bank, cases)
    assert tower.seen == [1]
    assert entry.read_bytes() == whole


def test_part_that_lacks_an_entry_is_computed_as_before(cases: list[Case], cache: Path) -> None:
    bank = bank_of(Tower())
    bank.fill(cases, "read", batch=3)
    entry_of(cache, bank, cases[4]).unlink()
    tower = Tower()
    bank_of(tower).fill(cases, "read", batch=3)
    assert tower.seen == [3]


KILLED = """
import os, sys, torch
sys.path.insert(0, sys.argv[1])
import safetensors.torch
from test_feature_store import Image, Tower
from ctfw.engine.features import FeatureStore
def halfway(tensors, path, metadata):
    open(path, "wb").write(b"half")
    os.kill(os.getpid(), 9)
safetensors.torch.save_file = halfway
store = FeatureStore.of(Tower(), begin=True)
store.put("scan", Image(1.0, torch.ones(1, 3)))
"""


def test_killed_writer_leaves_nothing_that_counts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(Path(__file__).parent)], check=False)
    assert done.returncode == -9
    store = FeatureStore.of(Tower(), begin=True)
    assert store is not None
    assert [path.name[:6] for path in store.folder.iterdir()] == [".scan."]
    assert store.get("scan") is None
    yesterday = time.time() - 90_000
    for left in store.folder.iterdir():
        os.utime(left, (yesterday, yesterday))
    FeatureStore.of(Tower(), begin=True)
    assert list(store.folder.iterdir()) == []


def test_evaluation_adds_to_a_folder_and_begins_none(cases: list[Case], cache: Path) -> None:
    bank_of(Tower(), begin=False).fill(cases[:3], "read")
    assert not (cache / "features").exists()
    bank_of(Tower()).fill(cases[:3], "read")
    bank_of(Tower(), begin=False).fill(cases, "read")
    assert len(list(cache.glob("features/*/*.safetensors"))) == 7


def test_full_disk_stops_the_keeping_and_not_the_work(
    cases: list[Case], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "RESERVE", 1 << 60)
    bank = bank_of(Tower())
    bank.fill(cases, "read")
    assert len(values(bank, cases)) == 7
    assert list(cache.glob("features/*/*")) == []
    assert bank.store is not None
    assert not bank.store.adds


def test_memory_that_is_full_goes_on_to_disk(cases: list[Case], cache: Path) -> None:
    tower = Tower()
    bank = bank_of(tower, memory=30)  # two entries of 12 bytes
    bank.fill(cases, "read", batch=2)
    assert tower.seen == [2, 2, 2, 1]
    values(bank, cases)
    assert tower.seen == [2, 2, 2, 1]


def test_noise_is_not_kept_on_disk(cases: list[Case], cache: Path) -> None:
    bank = bank_of(Tower())
    bank.negative(cases[0], Negative(transform=lambda v: v.but(array=v.array + 1)))
    assert list(cache.glob("features/*/*")) == []


def test_tower_in_training_is_never_hashed(
    cases: list[Case], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = Tower()
    monkeypatch.setattr(tower, "features_key", None)
    images = ImageBank(VolumePipeline(read, [Step(0)], ["add 0"]))
    bank = TokenBank(images, tower, frozen=False, begin=True)  # type: ignore[arg-type]
    bank.case(cases[0])
    assert not (cache / "features").exists()


def test_missing_scan_is_named(cases: list[Case]) -> None:
    cases[3].image.unlink()
    with pytest.raises(UnreadableVolume, match=r"^case case-3: .*scan-3: no such file"):
        bank_of(Tower()).case(cases[3])


def _fill(rank: int, root: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "CTFW_CACHE": root + "/cache"}
    cases = [
        Case(c.id, c.patient, Path(root, f"scan-{i}"), "r") for i, c in enumerate(tiny_cases(7))
    ]
    for _ in range(20):
        tower = Tower()
        bank_of(tower).fill(cases, "read", batch=1)
        assert bank_of(tower).case(cases[0]).tokens is not None


def test_two_processes_write_the_same_entries_at_once(cases: list[Case], cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    root = str(cache.parent)
    jobs = [context.Process(target=_fill, args=(rank, root)) for rank in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0]
    tower = Tower()
    bank_of(tower).fill(cases, "read")
    assert tower.seen == []
    assert list(cache.glob("features/*/.*")) == []


def test_processes_begin_at_different_parts(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: dict[int, list[str]] = {}
    for rank in (0, 1):
        monkeypatch.setenv("CTFW_CACHE", str(tmp_path / f"cache-{rank}"))
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        bank = bank_of(Tower())
        kept: list[str] = []
        monkeypatch.setattr(bank, "_keep", lambda case, seen, kept=kept: kept.append(case.id))
        bank.fill(cases, "read", batch=2)
        order[rank] = kept
    assert order[0] == [case.id for case in cases]
    assert order[1] == [case.id for case in cases[4:] + cases[:4]]


def test_hash_of_weights_sees_names_types_shapes_and_values() -> None:
    def module(**changes: Any) -> torch.nn.Module:
        made = torch.nn.Module()
        for name, value in {"a": torch.arange(6.0), "b": torch.ones(2), **changes}.items():
            made.register_buffer(name, value)
        return made

    whole = weights_hash(module())
    assert whole == weights_hash(module())
    others = [
        module(a=torch.arange(6.0).view(2, 3)),
        module(b=torch.ones(2).half()),
        module(b=torch.tensor([1.0, 1.0000001])),
        module(c=torch.zeros(0)),
        module(a=torch.ones(2), b=torch.arange(6.0)),
    ]
    assert len({whole, *(weights_hash(other) for other in others)}) == 6
    partitioned = module()
    setattr(partitioned.a, "ds_id", 1)  # noqa: B010 (no attribute of a tensor)
    assert weights_hash(partitioned) is None


def test_lists_of_texts_do_not_run_into_each_other() -> None:
    assert (
        len({hash_of(["ab", "c"]), hash_of(["a", "bc"]), hash_of(["abc"]), hash_of(["c", "ab"])})
        == 4
    )
