"""What was mined is kept, so that a resumed training draws the negatives of the unbroken one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.engine.images import TokenBank
from ctfw.errors import CannotWrite, UserError
from ctfw.settings import Training
from ctfw.types import CaseTable
from ctfw_plugins.samplers.configs import HardConfig
from ctfw_plugins.samplers.hard import Hard
from ctfw_plugins.stages import mined
from ctfw_plugins.stages.mined import Mined
from ctfw_plugins.stages.pairs import Pairs, PairSource
from ctfw_plugins.stages.plan import TrainingPlan

STEPS = 12  # 24 passes of 2 anchors: four epochs of 12 cases


@pytest.fixture
def moving(echo: Any, bank: TokenBank) -> Any:
    """A backbone whose view of the images changes with each look, as weights do."""
    echo.looks = 0

    def image_features(images: Sequence[float]) -> np.ndarray:
        echo.looks += 1
        rng = np.random.default_rng(echo.looks)
        return rng.standard_normal((len(images), 6)).astype(np.float32)

    echo.image_features = image_features
    return echo


def source(cases: CaseTable, bank: TokenBank, folder: Path) -> PairSource:
    settings = Training(batch_size=2, gradient_accumulation=2, max_steps=STEPS)
    plan = TrainingPlan(len(cases), settings, 5, "tune")
    sampler = Hard(HardConfig(min_conflicts=2))
    return PairSource(cases, bank, plan, sampler, 0, Mined(cases, bank, folder, 5))


def told(pairs: Pairs) -> tuple[Any, ...]:
    return pairs.step, [anchor.id for anchor in pairs.anchors], pairs.negatives


@pytest.mark.parametrize("first", [1, 2, 3, 5, 9])
def test_resumed_training_draws_what_was_mined_before(
    first: int, cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    whole = [told(pairs) for pairs in source(cases, bank, tmp_path)(0)]
    assert moving.looks == 4  # once per epoch
    assert sorted(file.name for file in (tmp_path / "mined").iterdir()) == [
        f"epoch-{epoch:03d}.npz" for epoch in range(4)
    ]
    resumed = source(cases, bank, tmp_path)
    assert [told(pairs) for pairs in resumed(first)] == whole[2 * first :]
    assert moving.looks == 4  # nothing was looked at again


def test_epochs_are_mined_anew(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    features = Mined(cases, bank, tmp_path, 5)
    one, two = features.features(0), features.features(1)
    assert set(one) == {case.id for case in cases}
    assert any(not np.array_equal(one[name], two[name]) for name in one)
    assert all(np.array_equal(one[n], features.features(0)[n]) for n in one)


def test_what_is_drawn_from_is_what_is_kept(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    first = Mined(cases, bank, tmp_path, 5).features(0)
    again = Mined(cases, bank, tmp_path, 5).features(0)
    for name, row in first.items():
        assert row.dtype == np.float32
        assert np.array_equal(row, again[name])


def test_past_epoch_that_is_gone_is_not_made_up(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    list(source(cases, bank, tmp_path)(0))
    (tmp_path / "mined" / "epoch-000.npz").unlink()
    with pytest.raises(UserError, match=r"epoch-000\.npz is missing.*cannot be resumed exactly"):
        source(cases, bank, tmp_path)(5)


def test_half_written_file_is_never_read(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(out: Any, **arrays: Any) -> None:
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(CannotWrite, match=r"cannot write .*epoch-000\.npz: No space left"):
            Mined(cases, bank, tmp_path, 5).features(0)
    assert not list((tmp_path / "mined").iterdir())
    assert len(Mined(cases, bank, tmp_path, 5).features(0)) == 12


def test_file_of_other_cases_is_refused(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    Mined(cases, bank, tmp_path, 5).features(0)
    with pytest.raises(UserError, match="is of other cases"):
        Mined(cases[:8], bank, tmp_path, 5).features(0)


def test_damaged_file_is_named(
    cases: CaseTable, bank: TokenBank, moving: Any, tmp_path: Path
) -> None:
    Mined(cases, bank, tmp_path, 5).features(0)
    (tmp_path / "mined" / "epoch-000.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match=r"epoch-000\.npz cannot be read"):
        Mined(cases, bank, tmp_path, 5).features(0)


def test_backbone_that_tells_nothing_is_refused_in_words(
    cases: CaseTable, bank: TokenBank, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no `image_features`.*alike: labels"):
        Mined(cases, bank, tmp_path, 5)


def test_wide_features_are_projected_and_keep_who_is_near_whom() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((20, 2048)), 2, axis=0).astype(np.float32)
    rows += 0.1 * rng.standard_normal(rows.shape).astype(np.float32)
    made = mined._projected(rows, 3)
    assert made.shape == (40, mined.WIDTH)
    assert np.abs(made).max() == pytest.approx(1.0)
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    alike = unit @ unit.T - 2 * np.eye(40)
    assert (alike.argmax(1) == np.arange(40) ^ 1).all()
