"""Files of a run are whole, readable after a kill, and plain JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import UserError
from ctfw.runs.files import (
    append_line,
    clean,
    read_fitting,
    read_json,
    read_lines,
    whole_folder,
    write_json,
    write_lines,
)
from ctfw.runs.files import write_text as write


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b.txt", "one")
    write(tmp_path / "a" / "b.txt", "two")
    assert [(p.name, p.read_text()) for p in (tmp_path / "a").iterdir()] == [("b.txt", "two")]


def test_failed_write_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "status.json"
    write_json(file, {"state": "running"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError) as caught:
        write_json(file, {"state": "finished"})
    assert str(caught.value) == f"cannot write {file}: No space left on device"
    assert read_json(file) == {"state": "running"}
    assert list(tmp_path.iterdir()) == [file]


def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*/x/y.json: (Not a directory|File exists)"):
        write_json(tmp_path / "x" / "y.json", {})


def test_values_become_plain_json(tmp_path: Path) -> None:
    value = {
        "array": np.array([[1, 2]], np.int8),
        "scalar": np.float32(0.5),
        "nan": float("nan"),
        "infinite": np.array([np.inf, 1.0]),
        "path": tmp_path,
        "set": {3},
        "tuple": (True, None),
        4: "number",
    }
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == {
        "array": [[1, 2]],
        "scalar": 0.5,
        "nan": None,
        "infinite": [None, 1.0],
        "path": str(tmp_path),
        "set": [3],
        "tuple": [True, None],
        "4": "number",
    }
    assert clean(float("-inf")) is None


@pytest.mark.parametrize("text", ["Größe 5 mm", "a\u2028b\x85c\x0bd", "line\nbreak", '"quoted"'])
def test_any_text_survives_a_line(text: str, tmp_path: Path) -> None:
    append_line(tmp_path / "x.jsonl", {"text": text})
    append_line(tmp_path / "x.jsonl", {"text": "next"})
    assert [line["text"] for line in read_lines(tmp_path / "x.jsonl")] == [text, "next"]
    write_lines(tmp_path / "y.jsonl", [{"text": text}, {"text": "next"}])
    assert (tmp_path / "y.jsonl").read_bytes() == (tmp_path / "x.jsonl").read_bytes()


def test_line_cut_by_a_kill_is_left_out_and_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for step in range(3):
        append_line(file, {"step": step, "text": "ü"})
    whole = file.read_bytes()
    for cut in range(1, len(whole) // 3):
        file.write_bytes(whole[:-cut])
        kept = 3 if cut == 1 else 2  # only the line break is gone
        assert [line["step"] for line in read_lines(file)] == [0, 1, 2][:kept]
        append_line(file, {"step": 9})
        assert [line["step"] for line in read_lines(file)] == [*[0, 1, 2][:kept], 9]


def test_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "absent.jsonl") == []
    write_lines(tmp_path / "empty.jsonl", [])
    assert read_lines(tmp_path / "empty.jsonl") == []


def test_full_disk_is_said_in_words(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from ctfw.errors import CannotWrite; from ctfw.runs.files import append_line;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n for i in range(99): append_line(Path(sys.argv[1]), {'text': 'x' * 100})\n"
        "except CannotWrite as error: print(error)"
    )
    file = tmp_path / "g.jsonl"
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert done.stdout.startswith(f"cannot write {file}: File too large"), done.stderr
    kept = len(read_lines(file))
    append_line(file, {"text": "next"})
    assert [line["text"] for line in read_lines(file)] == ["x" * 100] * kept + ["next"]


def test_what_follows_a_damaged_line_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "g.jsonl"
    file.write_text('{"n": 0}\n{"n": 1}\nx\n{"n": 3}\n')
    assert read_fitting(file, lambda place, line: line["n"] == place) == [{"n": 0}, {"n": 1}]
    assert read_fitting(file, lambda place, line: place < 1) == [{"n": 0}]


def test_line_that_is_no_object_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "g.jsonl"
    file.write_text('7\n[1]\nnull\n{"n": 3}\n')
    assert read_lines(file) == [{"n": 3}]


def test_files_of_a_new_folder_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "made") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "secret").write_text("x")
        (folder / "inner" / "secret").chmod(0o600)
        (tmp_path / "usual").write_text("x")
    made = (tmp_path / "made" / "inner" / "secret").stat().st_mode
    assert made == (tmp_path / "usual").stat().st_mode
