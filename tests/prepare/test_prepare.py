"""`ctfw prepare` fills both stores, does nothing twice, and leaves out what cannot be used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.engine.survey import Survey
from ctfw.errors import UserError


def times(shelf: Any) -> dict[str, tuple[int, int]]:
    """Inode and time of every stored file: what is written again has others."""
    found = {}
    for path in sorted(shelf.stores.rglob("*")):
        if path.is_file():
            facts = path.stat()
            found[str(path)] = (facts.st_ino, facts.st_mtime_ns)
    return found


def test_both_stores_are_filled_and_a_rerun_does_nothing(shelf: Any) -> None:
    done = shelf.prepare("--workers", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("made: 6 (")
    assert len(list((shelf.stores / "nifti").glob("*.nii.gz"))) == 6
    arrays = list((shelf.stores / "numpy").glob("*.npy"))
    assert len(arrays) == 6
    stored = np.load(arrays[0])
    assert (stored.dtype, stored.shape) == (np.float16, (33, 96, 96))  # (z, x, y)
    before = times(shelf)
    again = shelf.prepare()
    assert again.returncode == 0, again.stderr
    assert again.stdout == "made: 0\ndone before: 6\n"
    assert times(shelf) == before
    rows = [json.loads(line) for line in (shelf.log / "manifest.jsonl").read_text().splitlines()]
    assert sorted(row["case"] for row in rows) == shelf.names
    assert all(row["bytes"] > 0 and row["seconds"] > 0 for row in rows)


def test_changed_step_redoes_only_what_it_touches(shelf: Any) -> None:
    shelf.prepare()
    before = times(shelf)
    text = shelf.recipe.read_text().replace("use: hu-window", "use: hu-window, high: 800")
    shelf.recipe.write_text(text)
    done = shelf.prepare()
    assert done.stdout.startswith("made: 6"), done.stderr
    after = times(shelf)
    assert before.items() <= after.items()
    assert len(list((shelf.stores / "numpy").glob("*.npy"))) == 12
    assert len(list((shelf.stores / "nifti").glob("*.nii.gz"))) == 6
    late = shelf.recipe.read_text().replace("slices, count: 4", "slices, count: 7")
    shelf.recipe.write_text(late)
    assert shelf.prepare().stdout.startswith("made: 0")


def test_moved_copied_or_touched_data_are_known_again(shelf: Any) -> None:
    shelf.prepare()
    before = shelf.entries()
    moved = shelf.root / "moved"
    shutil.copytree(shelf.root / "scans", moved)  # new times, another place
    shutil.rmtree(shelf.root / "scans")
    table = shelf.root / "cases.csv"
    table.write_text(table.read_text().replace("scans/", "moved/"))
    assert shelf.prepare().stdout == "made: 0\ndone before: 6\n"
    assert shelf.entries() == before


def test_removed_early_entry_is_made_again(shelf: Any) -> None:
    shelf.prepare()
    before = shelf.entries()
    for path in (shelf.stores / "nifti").glob("*.json"):
        path.unlink()
    assert shelf.prepare().stdout.startswith("made: 6")
    assert shelf.entries() == before


def test_bad_scans_are_left_out_with_their_reason(shelf: Any) -> None:
    good = shelf.scan("case-1").read_bytes()
    shelf.scan("case-1").write_bytes(good[: len(good) // 2])
    shelf.scan("case-2").write_text("<html>404</html>")
    content = bytearray(good)
    content[len(good) // 2] ^= 8
    shelf.scan("case-3").write_bytes(content)
    done = shelf.prepare("--workers", 2)
    assert done.returncode == 2
    assert "made: 3" in done.stdout
    assert "3 scans left out" in done.stderr
    reasons = json.loads((shelf.log / "quarantine.json").read_text())
    assert sorted(reasons) == ["case-1", "case-2", "case-3"]
    assert "ends before its last voxel" in reasons["case-1"]
    assert "not a NIfTI file" in reasons["case-2"]
    assert "damaged" in reasons["case-3"] or "not a" in reasons["case-3"]
    assert all(str(shelf.scan(name)) in reason for name, reason in reasons.items())
    assert len(shelf.entries()) == 3 * 4
    assert not list(shelf.stores.rglob("*.tmp"))


def test_refused_scan_is_tried_again_when_it_changed_or_on_request(shelf: Any) -> None:
    good = shelf.scan("case-1").read_bytes()
    content = bytearray(good)
    content[len(good) // 2] ^= 8
    shelf.scan("case-1").write_bytes(content)
    assert "made: 5" in shelf.prepare().stdout
    known = shelf.prepare()
    assert (known.returncode, "made: 0" in known.stdout) == (2, True)
    assert "0 images to do" in known.stderr
    assert "1 scan refused before: --again tries them once more" in known.stderr
    lines = (shelf.log / "manifest.jsonl").read_text().count("\n")
    assert "1 image to do" in shelf.prepare("--again").stderr
    assert (shelf.log / "manifest.jsonl").read_text().count("\n") == lines + 1
    shelf.scan("case-1").write_bytes(good)  # same size and same end as the damaged one
    mended = shelf.prepare()
    assert (mended.returncode, "made: 1" in mended.stdout) == (0, True), mended.stderr
    assert json.loads((shelf.log / "quarantine.json").read_text()) == {}


def test_quarantine_holds_the_cases_of_this_job_alone(shelf: Any) -> None:
    shutil.copy(shelf.scan("case-0"), shelf.root / "twin.nii.gz")
    shelf.scan("case-0").write_text("junk")
    assert shelf.prepare().returncode == 2
    quarantine = shelf.log / "quarantine.json"
    assert list(json.loads(quarantine.read_text())) == ["case-0"]
    # The good content is in the store already, under another name.
    table = shelf.root / "cases.csv"
    text = table.read_text()
    table.write_text(text.replace("scans/case-1.", "twin."))
    assert shelf.prepare().returncode == 2
    shutil.copy(shelf.root / "twin.nii.gz", shelf.scan("case-0"))
    assert shelf.prepare().returncode == 0
    assert json.loads(quarantine.read_text()) == {}


def test_missing_file_is_named_by_the_data_set_and_the_rest_go_on(shelf: Any) -> None:
    shelf.scan("case-4").unlink()
    done = shelf.prepare()
    assert "made: 5" in done.stdout
    assert "case-4" in done.stderr


def test_equal_images_are_prepared_once(shelf: Any) -> None:
    shutil.copy(shelf.scan("case-0"), shelf.scan("case-5"))
    done = shelf.prepare()
    assert "6 volumes, 5 images to do" in done.stderr
    assert done.stdout.startswith("made: 6")
    assert len(list((shelf.stores / "numpy").glob("*.npy"))) == 5


@pytest.mark.parametrize("count", [1, 3])
def test_shards_share_the_work_without_overlap(shelf: Any, count: int) -> None:
    for part in range(1, count + 1):
        done = shelf.prepare("--shard", f"{part}/{count}")
        assert done.returncode == 0, done.stderr
    rows = [
        json.loads(line)["case"]
        for path in shelf.log.glob("manifest.*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert sorted(rows) == shelf.names
    assert shelf.prepare().stdout == "made: 0\ndone before: 6\n"


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_shard_that_means_nothing_is_refused(shelf: Any, text: str) -> None:
    done = shelf.prepare("--shard", text)
    assert done.returncode == 2
    assert "1/N to N/N" in done.stderr


def test_chain_without_a_store_says_what_to_add(shelf: Any) -> None:
    shelf.write("\n    - {use: rescale-hu}\n")
    done = shelf.prepare()
    assert done.returncode == 2
    assert "add {use: preprocessed-numpy}" in done.stderr


def test_order_of_steps_that_cannot_work_is_said_before_any_scan_is_read(shelf: Any) -> None:
    shelf.write("\n    - {use: hu-window}\n    - {use: preprocessed-numpy, folder: STORES/n}\n")
    done = shelf.prepare()
    assert done.returncode == 2
    assert "hu-window needs HU" in done.stderr
    assert not shelf.log.exists()
    shelf.write(
        "\n    - {use: rescale-hu}\n    - {use: hu-window}\n"
        "    - {use: preprocessed, dtype: int16, folder: STORES/n}\n"
    )
    assert "put it before hu-window" in shelf.prepare().stderr


def test_no_training_engine_is_needed(shelf: Any) -> None:
    done = shelf.prepare("--set", "stages.tune.training.engine=deepspeed-zero2")
    assert done.returncode == 0, done.stderr


def test_interruption_is_said_without_a_traceback(make_shelf: Any) -> None:
    shelf = make_shelf(60, 40, 128)
    process = subprocess.Popen(
        shelf.command("--workers", 2), env=shelf.environment, stderr=subprocess.PIPE, text=True
    )
    while not list((shelf.stores / "numpy").glob("[!.]*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "stopped; the same command goes on" in said
    assert "Traceback" not in said


def test_store_that_cannot_be_written_costs_no_scan(shelf: Any) -> None:
    shelf.stores.mkdir()
    (shelf.stores / "numpy").write_text("a file where a folder should be")
    done = shelf.prepare("--workers", 1)
    assert done.returncode == 2
    assert "3 volumes in a row could not be kept" in done.stderr
    reasons = json.loads((shelf.log / "quarantine.json").read_text())
    assert len(reasons) == 3
    assert all("cannot write" in reason for reason in reasons.values())
    (shelf.stores / "numpy").unlink()
    mended = shelf.prepare()
    assert (mended.returncode, "made: 6" in mended.stdout) == (0, True)


def test_full_disk_is_said_and_leaves_nothing_half(shelf: Any) -> None:
    def small_files() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = shelf.prepare_apart("--workers", 1, preexec_fn=small_files)
    assert done.returncode == 2
    assert "3 volumes in a row could not be kept" in done.stderr
    assert "Traceback" not in done.stderr
    reasons = json.loads((shelf.log / "quarantine.json").read_text())
    assert len(reasons) == 3  # then it is the disk, and not the scans
    for reason in reasons.values():
        assert "cannot write" in reason
        assert "File too large" in reason
    assert not list(shelf.stores.rglob("*.tmp"))
    assert "made: 6" in shelf.prepare().stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_said(shelf: Any) -> None:
    shelf.stores.mkdir()
    shelf.stores.chmod(0o500)
    done = shelf.prepare()
    shelf.stores.chmod(0o700)
    assert "Permission denied" in done.stdout


def test_too_little_space_is_said_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = Survey(folders=(tmp_path / "not" / "yet",))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    survey.must_fit(90e6, 11)
    with pytest.raises(UserError, match=r"12 volumes of 90 MB are still to come.* 1 GB free"):
        survey.must_fit(90e6, 12)


def test_too_many_failures_stop_the_job(shelf: Any) -> None:
    for name in shelf.names:
        shelf.scan(name).write_text(f"junk {name}")
    done = shelf.prepare("--max-failures", 2, "--workers", 1)
    assert done.returncode == 2
    assert "more than 2 volumes could not be used" in done.stderr


def test_second_job_in_one_folder_is_refused(shelf: Any) -> None:
    import fcntl

    shelf.log.mkdir()
    with (shelf.log / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = shelf.prepare()
    assert done.returncode == 2
    assert "being worked on by another ctfw" in done.stderr
