"""What became of each volume: a list that grows while the work goes on, and survives a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ctfw import __version__
from ctfw.runs.files import append_line, read_lines, write_json
from ctfw.volumes.work import Row


class Ledger:
    """Rows of this job, and what earlier jobs of the same folder said.

    folder  where `manifest.jsonl` and `quarantine.json` are kept; None: nowhere
    shard   put into the manifest's name, so that jobs of one array do not share a file
    """

    def __init__(self, folder: Path | None = None, shard: str = "") -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.counts: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._name = f"manifest{shard and '.' + shard}.jsonl"
        self._known = self._earlier()

    def add(self, row: Row, sharing: Sequence[str] = ()) -> None:
        """Note a row at once; `sharing` are further cases with the same image."""
        self.rows.append(row)
        names = (row.case, *sharing)
        self.counts[row.state] += len(names)
        if row.state in ("refused", "failed"):
            self.refused.update(dict.fromkeys(names, row.reason))
        if self.folder is not None and row.state != "found":
            for name in names:
                append_line(
                    self.folder / self._name, {**asdict(row), "case": name, "ctfw": __version__}
                )

    def known_refusal(self, key: str, stamp: str) -> str:
        """Why this very file was refused before by this version; empty when it was not."""
        row = self._known.get(key)
        if row is None or row["state"] != "refused" or not stamp:
            return ""
        same = row["stamp"] == stamp and row["ctfw"] == __version__
        return str(row["reason"]) if same else ""

    def close(self) -> None:
        """Write `quarantine.json`: case -> why its scan is left out."""
        if self.folder is not None:
            write_json(self.folder / "quarantine.json", self._left_out())

    def _left_out(self) -> dict[str, str]:
        """The last word on each case, over all manifests of the folder."""
        found: dict[str, str] = {}
        for row in self._lines():
            if row["state"] in ("refused", "failed"):
                found[row["case"]] = row["reason"]
            else:
                found.pop(row["case"], None)
        return {**found, **self.refused}

    def _earlier(self) -> dict[str, dict[str, Any]]:
        return {row["key"]: row for row in self._lines()}

    def _lines(self) -> list[dict[str, Any]]:
        if self.folder is None:
            return []
        wanted = {"case", "key", "state", "reason", "stamp", "ctfw"}
        rows = [
            row for path in sorted(self.folder.glob("manifest*.jsonl")) for row in read_lines(path)
        ]
        return [row for row in rows if isinstance(row, dict) and wanted <= set(row)]
