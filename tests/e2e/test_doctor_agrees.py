"""`ctfw doctor` estimates what the training itself says before its first step."""

from __future__ import annotations

import re
from typing import Any

from ctfw.runs.files import read_json

PARTS = ("weights", "gradients", "optimizer", "activations", "logits")


def test_memory_and_steps_are_those_of_the_run(
    finished: Any, ctfw: Any, tiny: list[str], tmp_path: Any
) -> None:
    told = re.search(r"tune: memory of a step: about (\S+ \S+) \((.*)\)", finished.stderr)
    assert told is not None
    sizes = dict(part.split(" ", 1) for part in told[2].split(", "))
    assert tuple(sizes) == PARTS
    found = tmp_path / "found.json"
    done = ctfw("doctor", "ours_heter", *tiny, "--json", found, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    findings = read_json(found)["findings"]
    (table,) = (each["table"] for each in findings if "estimate per stage" in each["text"])
    rows = {row[0]: row[1:] for row in table}
    assert rows["stage"] == [*PARTS, "in all"]
    assert rows["tune"] == [*(sizes[part] for part in PARTS), told[1]]
    assert any(each["text"].startswith("tune: 12 steps of 2 cases") for each in findings)
