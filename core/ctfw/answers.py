"""Answers of language models, kept on disk: a job that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ctfw.paths import cache_dir


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote; `finish` is "stop", or "length" when the limit of tokens cut it."""

    text: str
    finish: str = "stop"


def key_of(*parts: Any) -> str:
    """Hash of JSON-like values: what decides an answer, in an order of the caller's choice."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class AnswerCache:
    """One small file per question, readable by its owner only; the question is not stored.

    The answers may quote the reports that were asked about: keep the folder where the reports
    may be kept. A file that is damaged counts as absent.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_dir() / "answers" if folder is None else folder.expanduser()
        self._told = False

    def get(self, key: str) -> list[Reply] | None:
        """The replies to a question, or None."""
        try:
            held = json.loads(self._file(key).read_text(encoding="utf-8"))
            return [Reply(str(item["text"]), str(item["finish"])) for item in held["replies"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, replies: Sequence[Reply]) -> None:
        """Keep the replies. A folder that cannot be written is told once and costs time only."""
        file = self._file(key)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        text = json.dumps({"replies": [asdict(reply) for reply in replies]}, ensure_ascii=False)
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as stream:
                stream.write(text)
            os.replace(temporary, file)
        except OSError as error:
            if not self._told:
                self._told = True
                print(
                    f"  answers cannot be kept in {self.folder} ({error.strerror or error}): a run "
                    "that is killed starts them again",
                    file=sys.stderr,
                )

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"
