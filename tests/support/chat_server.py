"""A stand-in for a server of OpenAI's chat protocol, on a port of this machine.

    with ChatServer(lambda body: "a reply") as server:
        Endpoint(base_url=server.url, model="judge").chat([...])

It answers `/v1/chat/completions` and `/v1/completions`. What it should do before it answers, e.g.
fail twice, is put into `server.script`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """One reply; `finish` is "length" for a text that the limit of tokens cut."""

    text: str
    finish: str = "stop"


@dataclass(frozen=True)
class Instead:
    """What happens instead of an answer.

    status 0 closes the connection without a word; `delay_s` comes before anything else
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Body


def asked(body: Body) -> str:
    """The text of a request: its prompt, or what the last message says."""
    if "prompt" in body:
        return str(body["prompt"])
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class ChatServer:
    """`answer` turns the body of a request into the reply; it is called once per reply wanted."""

    def __init__(self, answer: Callable[[Body], str | Served], host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.script: list[Instead] = []
        self.seen: list[Seen] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer((host, 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL, up to the version."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def handle(self, path: str, headers: Mapping[str, str], body: Body) -> Instead:
        """What to send back for a request."""
        with self._lock:
            self.seen.append(Seen(path, headers, body))
            scripted = self.script.pop(0) if self.script else None
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            if scripted is not None:
                time.sleep(scripted.delay_s)
                return scripted
            return self._served(path, body)
        finally:
            with self._lock:
                self._now -= 1

    def _served(self, path: str, body: Body) -> Instead:
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return Instead(404, b'{"detail": "Not Found"}')
        choices = []
        for index in range(body.get("n", 1)):
            given = self.answer(body)
            served = given if isinstance(given, Served) else Served(given)
            held: Body = {"index": index, "finish_reason": served.finish}
            if path == "/v1/completions":
                held["text"] = served.text
            else:
                held["message"] = {"role": "assistant", "content": served.text}
            choices.append(held)
        return Instead(200, json.dumps({"object": "reply", "choices": choices}).encode())


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = server.handle(self.path, dict(self.headers), json.loads(raw or b"{}"))
            self.close_connection = True
            if sent.status == 0:
                return
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in sent.headers:
                self.send_header("Content-Length", str(len(sent.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(sent.body)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read the requests; nothing is printed."""

    return Handler
