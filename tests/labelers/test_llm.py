"""`llm` against a server of this process that answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ctfw.endpoint import Endpoint
from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.labelers.configs import LlmConfig
from ctfw_plugins.labelers.llm import Llm, read_answer

NAMES = ("Edema", "Fracture")
Answer = Callable[[list[dict[str, str]]], str]


class Server(ThreadingHTTPServer):
    """Keeps every conversation it was sent; `answer` makes the reply."""

    answer: Answer
    asked: list[list[dict[str, str]]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body["messages"])
        text = self.server.answer(body["messages"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        data = json.dumps({"choices": [choice | {"finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.asked = []
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def llm(server: Server, cache: Path, **settings: Any) -> Llm:
    endpoint = Endpoint(
        base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", model="tiny", retries=0
    )
    return Llm(LlmConfig(**({"endpoint": endpoint, "labels": NAMES, "cache": cache} | settings)))


def honest(messages: list[dict[str, str]]) -> str:
    """True of every label that the report names."""
    return json.dumps({name: name.lower() in messages[1]["content"] for name in NAMES})


def test_answers_become_labels_and_empty_texts_are_not_sent(server: Server, tmp_path: Path) -> None:
    server.answer = honest
    labels = llm(server, tmp_path).label(["edema", "", "a fracture, and edema", " . "])
    assert labels.tolist() == [[1, 0], [0, 0], [1, 1], [0, 0]]
    assert sorted(talk[1]["content"] for talk in server.asked) == ["a fracture, and edema", "edema"]
    assert all(name in server.asked[0][0]["content"] for name in NAMES)


def test_answers_are_kept_by_model_prompt_and_text(server: Server, tmp_path: Path) -> None:
    server.answer = honest
    llm(server, tmp_path).label(["edema"])
    again = llm(server, tmp_path)
    assert again.label(["edema"]).tolist() == [[1, 0]]
    assert len(server.asked) == 1
    other = llm(server, tmp_path, uncertain="negative")
    other.label(["edema"])
    assert len(server.asked) == 2
    assert other.signature != again.signature
    assert "llm|tiny|" in again.signature


def test_a_bad_answer_is_told_what_is_wrong_and_asked_again(server: Server, tmp_path: Path) -> None:
    def late(messages: list[dict[str, str]]) -> str:
        return honest(messages) if len(messages) > 2 else '{"Edema": true}'

    server.answer = late
    assert llm(server, tmp_path).label(["edema"]).tolist() == [[1, 0]]
    assert server.asked[1][-1]["content"].startswith("Unusable: no answer about 'Fracture'")


def test_answers_that_stay_bad_name_the_report(server: Server, tmp_path: Path) -> None:
    server.answer = lambda messages: (
        honest(messages) if messages[1]["content"] == "edema" else "I cannot say."
    )
    with pytest.raises(BadData, match=r"about report 2 of 2 in 3 attempts: no JSON") as caught:
        llm(server, tmp_path).label(["edema", "secret text"])
    assert len(server.asked) == 4
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"Edema": true, "Fracture": false}',
        'Here it is:\n```json\n{"Fracture": false, "Edema": true}\n```',
        '<think>{"Edema": false}</think> {"Edema": true, "Fracture": false} Done.',
    ],
)
def test_an_object_is_found_among_other_words(text: str) -> None:
    assert read_answer(text, NAMES) == [1, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yes", "no JSON object"),
        ('{"Edema": true', "not valid JSON"),
        ('{"Edema": true}', "no answer about 'Fracture'"),
        ('{"Edema": true, "Fracture": "no"}', "'Fracture' is neither true nor false"),
        ('{"Edema": 1, "Fracture": false}', "'Edema' is neither true nor false"),
        ('{"Edema": true, "Fracture": false, "Mass": false}', "'Mass' is not one of the labels"),
        ('{"Edema": true, "Edema": false, "Fracture": false}', "answered twice"),
    ],
)
def test_every_other_answer_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_answer(text, NAMES)


def test_the_labels_of_ct_rate_are_asked_by_default(server: Server, tmp_path: Path) -> None:
    labeler = llm(server, tmp_path, labels=())
    assert labeler.names == CT_RATE_LABELS
    with pytest.raises(ValueError, match=r"must hold \{keys\}"):
        llm(server, tmp_path, prompt="Which findings?")
    with pytest.raises(ValueError, match="names a label twice"):
        llm(server, tmp_path, labels=("Edema", "Edema"))
