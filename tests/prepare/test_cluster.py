"""`--cluster` does the same work with the same bytes on the workers of a Dask scheduler."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ctfw.engine import prepare

distributed = pytest.importorskip("distributed", reason="needs ctfw[cluster]")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as running:
        yield running


def test_cluster_writes_the_bytes_of_one_machine(make_shelf: Any, cluster: Any) -> None:
    here, there = make_shelf(name="here"), make_shelf(name="there")
    there.scan("case-2").write_text("junk")
    here.scan("case-2").write_text("junk")
    assert here.prepare("--workers", 2).returncode == 2
    with distributed.Client(cluster.scheduler_address) as client:
        (worker,) = client.scheduler_info()["workers"]
        before = client.run(os.times)[worker].user
        done = there.prepare("--cluster", cluster.scheduler_address)
        # One thread in all: the work is nevertheless the cluster's, not the client's.
        assert client.run(os.times)[worker].user > before
        assert client.run(lambda: "ctfw.volumes.work" in sys.modules)[worker]
    assert (done.returncode, "made: 5" in done.stdout) == (2, True), done.stderr
    assert there.entries() == here.entries()


def test_scheduler_that_is_not_there_is_named(shelf: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(prepare, "_ANSWER_S", 1)
    done = shelf.prepare("--cluster", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in done.stderr
