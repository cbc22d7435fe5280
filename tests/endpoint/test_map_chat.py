"""Many questions: in order, several at once, kept on disk, and started again after a kill."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Instead, asked

from ctfw.answers import AnswerCache, Reply, key_of
from ctfw.endpoint import ChatRequest, Endpoint, EndpointError, map_chat

Serve = Callable[..., ChatServer]


def requests(*texts: str, **settings: Any) -> list[ChatRequest]:
    return [ChatRequest([{"role": "user", "content": text}], **settings) for text in texts]


def client(server: ChatServer, **settings: Any) -> Endpoint:
    return Endpoint(base_url=server.url, model="judge", **settings)


def texts(found: list[list[Reply]]) -> list[str]:
    return [replies[0].text for replies in found]


def test_replies_come_in_the_order_of_the_questions(chat_server: Serve) -> None:
    def late(body: dict[str, Any]) -> str:
        time.sleep(0.1 if asked(body) == "a" else 0)
        return asked(body).upper()

    assert texts(map_chat(client(chat_server(late)), requests(*"abcdef"), 4)) == list("ABCDEF")


def test_no_more_than_workers_questions_are_under_way(chat_server: Serve) -> None:
    def slow(body: dict[str, Any]) -> str:
        time.sleep(0.05)
        return "x"

    server = chat_server(slow)
    map_chat(client(server), requests(*"abcdefgh"), workers=3)
    assert 2 <= server.most_at_once <= 3


def test_identical_questions_are_asked_once(chat_server: Serve) -> None:
    server = chat_server(asked)
    assert texts(map_chat(client(server), requests("a", "b", "a", "a"))) == ["a", "b", "a", "a"]
    assert len(server.seen) == 2


def test_no_questions_need_no_server() -> None:
    assert map_chat(Endpoint(base_url="http://127.0.0.1:9/v1", model="m"), []) == []


def test_kept_answers_are_not_asked_again(chat_server: Serve, tmp_path: Path) -> None:
    server = chat_server(asked)
    map_chat(client(server), requests("a", "b"), cache=tmp_path)
    assert texts(map_chat(client(server), requests("b", "c", "a"), cache=tmp_path)) == list("bca")
    assert [asked(seen.body) for seen in server.seen[2:]] == ["c"]


def test_another_question_model_or_setting_is_another_entry(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(asked)
    plain = client(server)
    map_chat(plain, requests("a"), cache=tmp_path)
    map_chat(plain, requests("a", seed=1), cache=tmp_path)
    map_chat(plain, requests("a", n=2), cache=tmp_path)
    map_chat(plain, [ChatRequest("a")], cache=tmp_path)
    map_chat(plain.model_copy(update={"model": "other"}), requests("a"), cache=tmp_path)
    assert len(server.seen) == 5
    map_chat(plain.model_copy(update={"retries": 9}), requests("a"), cache=tmp_path)
    assert len(server.seen) == 5


def test_an_error_stops_the_job_and_keeps_what_was_answered(
    chat_server: Serve, tmp_path: Path
) -> None:
    server = chat_server(asked)
    server.script = [Instead(400)]
    with pytest.raises(EndpointError, match="HTTP 400"):
        map_chat(client(server), requests("bad"), 1, tmp_path)
    map_chat(client(server), requests("a", "b"), 1, tmp_path)
    server.script = [Instead(400)]
    with pytest.raises(EndpointError, match="HTTP 400"):
        map_chat(client(server), requests("a", "b", "bad", "later"), 1, tmp_path)
    before = len(server.seen)
    assert texts(map_chat(client(server), requests("a", "b", "bad"), 1, tmp_path)) == [
        "a",
        "b",
        "bad",
    ]
    assert len(server.seen) <= before + 2


def test_a_killed_job_goes_on_where_it_stopped(chat_server: Serve, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        if asked(body) == "3" and not resumed:
            time.sleep(30)
        return asked(body)

    resumed: list[bool] = []
    server = chat_server(answer)
    code = (
        "import sys; from pathlib import Path;"
        "from ctfw.endpoint import ChatRequest, Endpoint, map_chat;"
        "map_chat(Endpoint(base_url=sys.argv[1], model='judge'), [ChatRequest("
        "[{'role': 'user', 'content': str(i)}]) for i in range(6)], 1, Path(sys.argv[2]))"
    )
    job = subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(server.seen) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    job.kill()
    job.wait()
    assert len(server.seen) == 4
    resumed.append(True)
    found = map_chat(client(server), requests(*"012345"), 1, tmp_path)
    assert texts(found) == list("012345")
    assert [asked(seen.body) for seen in server.seen[4:]] == ["3", "4", "5"]


def test_kept_answers_are_for_the_owner_only_and_hold_no_question(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers")
    key = key_of("What does the report of Mr Example say?")
    cache.put(key, [Reply("Nothing.", "length")])
    assert cache.get(key) == [Reply("Nothing.", "length")]
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Example" not in file.read_text("utf-8")


@pytest.mark.parametrize("content", [b"", b'{"replies": [{"tex', b"[]", b"\xff", b'{"replies": 3}'])
def test_a_damaged_entry_counts_as_absent(content: bytes, tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    key = key_of("a")
    cache.put(key, [Reply("x")])
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(content)
    assert cache.get(key) is None


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = AnswerCache(tmp_path / "file")
    for number in range(3):
        cache.put(key_of(number), [Reply("x")])
    assert capsys.readouterr().err.count("answers cannot be kept in") == 1


def test_answers_lie_in_the_cache_folder_of_ctfw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path))
    AnswerCache().put(key_of("a"), [Reply("x")])
    assert os.listdir(tmp_path) == ["answers"]
