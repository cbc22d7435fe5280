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
    shard   put into the names of the files, so that jobs of one array do not share them
    """

    def __init__(self, folder: Path | None = None, shard: str = "") -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.counts: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._shard = shard and f".{shard}"
        self._name = f"manifest{self._shard}.jsonl"
        self._known = self._earlier()

    def add(self, row: Row, sharing: Sequence[str] = (), *, new: bool = True) -> None:
        """Note a row at once; `sharing` are further cases with the same image.

        new  False: the manifest, or a store, tells it already
        """
        self.rows.append(row)
        names = (row.case, *sharing)
        self.counts[row.state] += len(names)
        if row.state in ("refused", "failed"):
            self.refused.update(dict.fromkeys(names, row.reason))
        if self.folder is not None and new:
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

    @property
    def quarantine(self) -> Path | None:
        """Where `close` writes case -> why its scan is left out, for the cases of this job."""
        return self.folder and self.folder / f"quarantine{self._shard}.json"

    def close(self) -> None:
        """Write the quarantine."""
        if self.quarantine is not None:
            write_json(self.quarantine, self.refused)

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
