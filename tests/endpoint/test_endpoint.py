"""The client of chat servers: what it sends, when it asks again, and what it says when it fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from chat_server import ChatServer, Instead, Served, asked
from pydantic import ValidationError

from ctfw import endpoint_http
from ctfw.endpoint import ChatRequest, Endpoint, EndpointError, image_part

Serve = Callable[..., ChatServer]
HELLO = [{"role": "user", "content": "Is there an effusion on the left side of this chest?"}]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time here."""
    taken: list[float] = []
    monkeypatch.setattr(endpoint_http, "sleep", taken.append)
    return taken


def client(server: ChatServer, **settings: Any) -> Endpoint:
    return Endpoint(base_url=server.url, model="judge", **settings)


def test_chat_sends_what_is_asked_and_returns_the_text(chat_server: Serve) -> None:
    server = chat_server(lambda body: "No effusion.")
    assert client(server).chat(HELLO, max_tokens=9, seed=3, stop=["\n"]) == "No effusion."
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "judge",
        "messages": HELLO,
        "temperature": 0.0,
        "max_tokens": 9,
        "seed": 3,
        "stop": ["\n"],
    }
    assert "Authorization" not in seen.headers


def test_settings_that_are_not_given_are_left_to_the_server(chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    client(server).chat(HELLO)
    assert set(server.seen[0].body) == {"model", "messages", "temperature"}


def test_several_replies_come_as_a_list(chat_server: Serve) -> None:
    texts = iter("abc")
    server = chat_server(lambda body: next(texts))
    assert client(server).chat(HELLO, temperature=1.0, n=3) == ["a", "b", "c"]
    assert server.seen[0].body["n"] == 3


def test_a_raw_prompt_goes_past_the_chat_template(chat_server: Serve) -> None:
    server = chat_server(lambda body: Served("cut he", "length"))
    (reply,) = client(server).replies(ChatRequest("<|user|>\nAll?"))
    assert (reply.text, reply.finish) == ("cut he", "length")
    assert server.seen[0].path == "/v1/completions"
    assert server.seen[0].body["prompt"] == "<|user|>\nAll?"


def test_an_image_travels_inside_the_request(chat_server: Serve) -> None:
    server = chat_server(lambda body: asked(body))
    parts = [{"type": "text", "text": "Describe."}, image_part(b"\x89PNG")]
    assert client(server).chat([{"role": "user", "content": parts}]) == "Describe."
    sent = server.seen[0].body["messages"][0]["content"][1]
    assert sent == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


def test_an_image_that_the_server_would_fetch_is_refused() -> None:
    part = {"type": "image_url", "image_url": {"url": "http://elsewhere.example/scan.png"}}
    with pytest.raises(ValueError, match="must be a data: URL"):
        ChatRequest([{"role": "user", "content": [part]}])


def test_key_is_read_from_its_variable_and_stands_in_no_message(
    chat_server: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    server = chat_server(lambda body: "x")
    own = client(server, api_key_env="JUDGE_KEY")
    own.chat(HELLO)
    assert server.seen[0].headers["Authorization"] == "Bearer sk-very-secret"
    server.script = [Instead(401, b'{"error": {"message": "bad key sk-very-secret"}}')]
    with pytest.raises(
        EndpointError, match=r"refuses access .HTTP 401.: check the key in JUDGE_KEY"
    ) as caught:
        own.chat(HELLO)
    printed = "".join(capfd.readouterr())
    assert "secret" not in f"{caught.value}{caught.value.__cause__}{own!r}{printed}"


def test_a_missing_key_names_its_variable(
    chat_server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    server = chat_server(lambda body: "x")
    with pytest.raises(EndpointError, match="variable JUDGE_KEY holds no key"):
        client(server, api_key_env="JUDGE_KEY").chat(HELLO)
    assert server.seen == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_busy_or_failing_server_is_asked_again(
    status: int, chat_server: Serve, waits: list[float]
) -> None:
    server = chat_server(lambda body: "at last")
    server.script = [Instead(status), Instead(status)]
    assert client(server).chat(HELLO) == "at last"
    assert len(server.seen) == 3
    assert 1 <= waits[0] <= 1.5
    assert 2 <= waits[1] <= 3


def test_the_pause_that_the_server_asks_for_is_kept(chat_server: Serve, waits: list[float]) -> None:
    server = chat_server(lambda body: "x")
    server.script = [Instead(429, headers={"Retry-After": "7"})]
    server.script += [Instead(429, headers={"Retry-After": "86400"})]
    client(server).chat(HELLO)
    assert waits == [7.0, endpoint_http.LONGEST_WAIT_S]


def test_a_silent_server_is_asked_again_and_then_given_up(
    chat_server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_http, "FIRST_WAIT_S", 0.01)
    server = chat_server(lambda body: "x")
    server.script = [Instead(delay_s=0.6), Instead(delay_s=0.6)]
    with pytest.raises(EndpointError, match=r"no answer within 0.2 s .timeout_s.; tried 2 times"):
        client(server, timeout_s=0.2, retries=1).chat(HELLO)


@pytest.mark.parametrize(
    "broken",
    [Instead(0), Instead(200, b'{"choices": [', {"Content-Length": "500"})],
    ids=["closed", "half an answer"],
)
def test_a_broken_connection_is_tried_again(
    broken: Instead, chat_server: Serve, waits: list[float]
) -> None:
    server = chat_server(lambda body: "whole")
    server.script = [broken]
    assert client(server).chat(HELLO) == "whole"
    server.script = [broken, broken]
    with pytest.raises(EndpointError, match="broke before the answer was whole; tried 2 times"):
        client(server, retries=1).chat(HELLO)


def test_giving_up_says_how_often_was_tried(chat_server: Serve, waits: list[float]) -> None:
    server = chat_server(lambda body: "x")
    server.script = [Instead(503)]
    with pytest.raises(EndpointError, match=r"fails .HTTP 503.; tried once") as caught:
        client(server, retries=0).chat(HELLO)
    assert caught.value.status == 503
    assert waits == []


def test_a_refused_connection_says_to_start_the_server(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nobody = Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="judge")
    with pytest.raises(EndpointError, match=f"nothing listens at http://127.0.0.1:{port}: start"):
        nobody.chat(HELLO)
    assert waits == []


def test_a_host_that_does_not_exist_is_named() -> None:
    nowhere = Endpoint(base_url="http://nowhere.invalid/v1", model="judge", retries=0)
    with pytest.raises(EndpointError, match=r"http://nowhere\.invalid"):
        nowhere.chat(HELLO)


def test_an_unknown_model_is_named_with_what_the_server_says(
    chat_server: Serve, waits: list[float]
) -> None:
    server = chat_server(lambda body: "x")
    server.script = [Instead(404, b'{"error": {"message": "The model `judge` does not exist."}}')]
    with pytest.raises(EndpointError, match="has no model 'judge'") as caught:
        client(server).chat(HELLO)
    assert 'it says: "The model `judge` does not exist."' in str(caught.value)
    assert (caught.value.status, waits) == (404, [])


@pytest.mark.parametrize(
    "echo",
    [HELLO[0]["content"], f"bad input: {HELLO[0]['content'][8:40]!r}"],
    ids=["all of it", "a piece"],
)
def test_a_message_that_repeats_the_question_is_not_shown(echo: str, chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    server.script = [Instead(400, json.dumps({"error": {"message": echo}}).encode())]
    with pytest.raises(EndpointError, match=r"does not take the question .HTTP 400.$"):
        client(server).chat(HELLO)


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b'{"choices": [', b"\xff\xfe"])
def test_an_answer_that_is_no_json_is_refused_without_quoting_it(
    body: bytes, chat_server: Serve
) -> None:
    server = chat_server(lambda asked: "x")
    server.script = [Instead(200, body)]
    with pytest.raises(EndpointError, match="is not JSON: is base_url the address") as caught:
        client(server).chat(HELLO)
    assert "welcome" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {"content": 3}}]}, 7],
)
def test_an_answer_of_another_form_is_refused(answer: Any, chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    server.script = [Instead(200, json.dumps(answer).encode())]
    with pytest.raises(EndpointError, match="answers without the 1 replies asked for"):
        client(server).chat(HELLO)


def test_fewer_replies_than_asked_for_are_refused(chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    one = {"choices": [{"message": {"content": "only one"}}]}
    server.script = [Instead(200, json.dumps(one).encode())]
    with pytest.raises(EndpointError, match="without the 2 replies asked for: it gives 1"):
        client(server).chat(HELLO, n=2)


def test_a_reply_without_text_is_an_empty_text(chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    refused = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    server.script = [Instead(200, json.dumps(refused).encode())]
    (reply,) = client(server).replies(ChatRequest(HELLO))
    assert (reply.text, reply.finish) == ("", "content_filter")


def test_a_redirect_to_another_host_is_refused_and_nothing_is_sent_there(
    chat_server: Serve,
) -> None:
    server, other = chat_server(lambda body: "x"), chat_server(lambda body: "caught")
    for status in (301, 302, 303, 307, 308):
        there = {"Location": f"{other.url}/chat/completions"}
        server.script = [Instead(status, headers=there)]
        with pytest.raises(EndpointError, match="which is not followed: set base_url"):
            client(server).chat(HELLO)
    assert other.seen == []


def test_a_redirect_within_the_host_repeats_the_question(chat_server: Serve) -> None:
    server = chat_server(lambda body: asked(body))
    there = {"Location": f"{server.url}/chat/completions"}
    server.script = [Instead(307, headers=there)]
    assert client(server).chat(HELLO) == HELLO[0]["content"]
    assert server.seen[0].body == server.seen[1].body
    server.script = [Instead(302, headers=there)]
    with pytest.raises(EndpointError, match="sends questions on to another path"):
        client(server).chat(HELLO)


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(
    chat_server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = chat_server(lambda body: "direct"), chat_server(lambda body: "by proxy")
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert client(server).chat(HELLO) == "direct"
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("localhost:8000/v1", "must be an address such as"),
        ("ftp://localhost/v1", "must be an address such as"),
        ("http://local host/v1", "must be an address such as"),
        ("http://user:secret@localhost/v1", "must not hold a password"),
        ("http://localhost/v1?key=secret", "without . and #"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_is_sent(address: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Endpoint(base_url=address, model="judge")


def test_a_slash_at_the_end_of_the_address_does_not_matter(chat_server: Serve) -> None:
    server = chat_server(lambda body: "x")
    assert Endpoint(base_url=f"{server.url}/", model="judge").chat(HELLO) == "x"
    assert server.seen[0].path == "/v1/chat/completions"
