"""The example is installed as a third party's plugin and keeps its promises."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.types import Case, CaseTable

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ctfw-hard-negatives"
LABELS = 6


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, without the network."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(EXAMPLE)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def package(site: Path) -> Iterator[Any]:
    """The installed modules, imported here."""
    sys.path.insert(0, str(site))
    names = ("ctfw_hard_negatives.hard", "ctfw_hard_negatives.configs", "ctfw_hard_negatives")
    yield [importlib.import_module(name) for name in names]
    sys.path.remove(str(site))
    for name in names:
        del sys.modules[name]


def ctfw(*arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with or without the example on the path."""
    folders = [str(site or ""), os.environ.get("PYTHONPATH", "")]
    code = f"import sys; from ctfw.cli import main; sys.exit(main({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))},
        capture_output=True,
        text=True,
    )


def test_installed_sampler_is_listed(site: Path) -> None:
    done = ctfw("plugins", site=site)
    assert done.returncode == 0, done.stderr
    assert "ctfw-hard-negatives 0.1.0" in done.stdout
    assert "ctfw-hard-negatives/hard@1" in done.stdout
    assert "FAILED" not in done.stdout
    assert "slow" not in done.stdout


def test_recipe_with_hard_is_valid_once_installed(site: Path) -> None:
    recipe = str(EXAMPLE / "hard.yaml")
    assert ctfw("validate", recipe, site=site).returncode == 0
    shown = ctfw("show", recipe, site=site).stdout
    assert "use: ctfw-hard-negatives/hard@1" in shown
    assert "min_label_distance" not in shown, "settings of the replaced sampler must be gone"


def test_recipe_with_hard_says_what_is_missing_otherwise() -> None:
    done = ctfw("validate", str(EXAMPLE / "hard.yaml"))
    assert done.returncode == 2
    assert "hard.yaml:11:22: " in done.stderr
    assert "no negative sampler named 'ctfw-hard-negatives/hard'" in done.stderr
    assert "pip install ctfw-hard-negatives" in done.stderr


def test_own_tests_of_the_example_pass(site: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)]
    env = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=EXAMPLE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def table(rows: list[tuple[int, ...]], patients: list[int]) -> CaseTable:
    cases = [
        Case(f"c{i}", f"p{p}", Path("x.nii.gz"), "", labels=np.array(row, np.int8))
        for i, (row, p) in enumerate(zip(rows, patients, strict=True))
    ]
    return CaseTable(tuple(cases), tuple(f"label {i}" for i in range(LABELS)))


def distinct_rows(least: int) -> st.SearchStrategy[list[tuple[int, ...]]]:
    row = st.tuples(*[st.integers(0, 1)] * LABELS)
    return st.lists(row, min_size=least, max_size=24, unique=True)


def fitted(package: Any, cases: CaseTable, **values: int) -> Any:
    sampler = package[0].Hard(package[1].HardConfig(**values))
    sampler.fit(cases)
    return sampler


@settings(max_examples=60, deadline=None)
@given(rows=distinct_rows(3), seed=st.integers(0, 99), data=st.data())
def test_partners_are_other_patients_that_conflict(
    package: Any, rows: list[tuple[int, ...]], seed: int, data: st.DataObject
) -> None:
    patients = data.draw(
        st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)).filter(
            lambda drawn: len(set(drawn)) > 1
        )
    )
    cases = table(rows, patients)
    sampler = fitted(package, cases)
    sampler.refresh(0, seed)
    for case in cases:
        partner = sampler.draw(case, np.random.default_rng(seed)).case
        assert partner.patient != case.patient
        assert (partner.labels != case.labels).sum() >= 1


@settings(max_examples=60, deadline=None)
@given(rows=distinct_rows(2), seed=st.integers(0, 99), cap=st.integers(2, 4))
def test_no_partner_serves_more_often_than_allowed(
    package: Any, rows: list[tuple[int, ...]], seed: int, cap: int
) -> None:
    # Everyone is another patient with other labels, so there is always somebody free.
    cases = table(rows, list(range(len(rows))))
    sampler = fitted(package, cases, max_uses=cap)
    sampler.refresh(1, seed)
    uses = Counter(sampler.draw(c, np.random.default_rng(0)).case.id for c in cases)
    assert max(uses.values()) <= cap
    assert sampler.summary()["over_cap"] == 0
    assert sampler.summary()["partner_use"] == dict(uses)


@settings(max_examples=40, deadline=None)
@given(rows=distinct_rows(6), seed=st.integers(0, 99), epoch=st.integers(0, 3))
def test_pairs_depend_on_seed_and_epoch_alone(
    package: Any, rows: list[tuple[int, ...]], seed: int, epoch: int
) -> None:
    cases = table(rows, list(range(len(rows))))

    def pairs(order: list[Case], before: int) -> dict[str, str]:
        sampler = fitted(package, cases)
        for earlier in range(before):
            sampler.refresh(earlier, seed)
        sampler.refresh(epoch, seed)
        return {case.id: sampler.draw(case, np.random.default_rng(9)).case.id for case in order}

    assert pairs(list(cases), 0) == pairs(list(cases)[::-1], 2)


@settings(max_examples=60, deadline=None)
@given(rows=distinct_rows(8), seed=st.integers(0, 99), pool=st.integers(1, 4))
def test_partner_is_one_of_the_nearest(
    package: Any, rows: list[tuple[int, ...]], seed: int, pool: int
) -> None:
    cases = table(rows, list(range(len(rows))))
    sampler = fitted(package, cases, pool=pool, max_label_distance=LABELS)
    anchor = cases[0]  # drawn without a plan, so nobody's slots are used up
    chosen = sampler.draw(anchor, np.random.default_rng(seed)).note["distance"]
    distances = sorted(int((c.labels != anchor.labels).sum()) for c in cases[1:])
    assert chosen <= distances[pool - 1]


def test_a_rule_that_gives_way_is_counted(package: Any) -> None:
    far = table([(0,) * LABELS, (1,) * LABELS], [0, 1])
    sampler = fitted(package, far, max_label_distance=2)
    sampler.refresh(0, 0)
    for case in far:
        sampler.draw(case, np.random.default_rng(0))
    assert sampler.summary()["relaxed"] == 2
    assert sampler.summary()["distance"] == {str(LABELS): 2}


def test_data_without_a_conflict_is_refused_in_words(package: Any) -> None:
    alike = table([(0, 1, 0, 0, 0, 0)] * 4, [0, 1, 2, 3])
    with pytest.raises(Exception, match="no other patient differs from c"):
        fitted(package, alike).refresh(0, 0)
    unlabelled = CaseTable((Case("c0", "p0", Path("x"), ""),), ())
    with pytest.raises(Exception, match="needs the labels of every training case"):
        fitted(package, unlabelled)
