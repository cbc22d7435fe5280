"""How a question of `ctfw.endpoint` travels: one POST, its errors in words, when to repeat it."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
from collections.abc import Iterator, Mapping
from time import sleep
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from ctfw.answers import Reply
from ctfw.endpoint import ChatRequest, Endpoint, EndpointError

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
_LARGEST = 1 << 26  # bytes of an answer; n replies of a language model stay far below
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WINDOW = 20  # characters: a message that shares as many with the question would print a text


class _Passing(Exception):
    """A fault that may be gone at the next attempt; `wait` is what the server asked for."""

    def __init__(self, reason: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait = wait


def ask(endpoint: Endpoint, request: ChatRequest) -> list[Reply]:
    """POST a request and read its replies; repeats it as `endpoint.retries` says.

    Waits 1, 2, 4, ... seconds between attempts (with up to a half more, so that several clients
    do not come back together), or as long as the server's Retry-After says, a minute at most.
    Raises EndpointError.
    """
    body = json.dumps(request.body(endpoint.model)).encode()
    target = Request(
        f"{endpoint.base_url}/{request.path}", data=body, headers=_headers(endpoint), method="POST"
    )
    opener = _opener(endpoint.base_url)
    for attempt in range(endpoint.retries + 1):
        try:
            return _replies(_post(opener, target, endpoint, request), endpoint, request)
        except _Passing as fault:
            if attempt == endpoint.retries:
                tried = "once" if not attempt else f"{attempt + 1} times"
                raise EndpointError(
                    f"{origin(endpoint.base_url)}: {fault}; tried {tried}", fault.status
                ) from None
            pause = FIRST_WAIT_S * 2**attempt * random.uniform(1.0, 1.5)
            sleep(min(LONGEST_WAIT_S, pause if fault.wait is None else fault.wait))
    raise AssertionError("the loop returns or raises")


def origin(url: str) -> str:
    """Scheme, host and port of an address: what may stand in a message."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoint.api_key_env is not None:
        key = os.environ.get(endpoint.api_key_env, "").strip()
        if not key:
            raise EndpointError(
                f"the environment variable {endpoint.api_key_env} holds no key for "
                f"{origin(endpoint.base_url)}: export it, or leave api_key_env empty"
            )
        if not key.isascii() or not key.isprintable():
            raise EndpointError(
                f"the key in {endpoint.api_key_env} has a character that no key has: set it again"
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers


class _SameHost(HTTPRedirectHandler):
    """Follows a redirect only within scheme, host and port, and repeats the POST there."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request:
        here, there = origin(req.full_url), origin(newurl)
        if here != there or code not in (307, 308):
            raise EndpointError(
                f"{here} sends questions on to {there if there != here else 'another path'}, which "
                "is not followed: set base_url to the address that answers",
                code,
            )
        again = Request(newurl, data=req.data, headers=req.headers, method="POST")
        again.timeout = req.timeout
        return again


def _opener(base_url: str) -> OpenerDirector:
    """Without a proxy for this machine: a local server's texts must not leave it."""
    if urlsplit(base_url).hostname in _LOOPBACK:
        return build_opener(ProxyHandler({}), _SameHost())
    return build_opener(_SameHost())


def _post(opener: OpenerDirector, target: Request, endpoint: Endpoint, request: ChatRequest) -> Any:
    """The JSON that the server answers. Raises _Passing or EndpointError."""
    here = origin(endpoint.base_url)
    try:
        with opener.open(target, timeout=endpoint.timeout_s) as answer:
            raw = answer.read(_LARGEST + 1)
            if answer.length and len(raw) <= _LARGEST:  # read(n) does not tell a short answer
                raise http.client.IncompleteRead(raw, answer.length)
    except HTTPError as error:
        with error:
            raise _refusal(error, endpoint, request) from None
    except (TimeoutError, http.client.HTTPException, ConnectionResetError) as error:
        raise _Passing(_broken(error, endpoint)) from None
    except URLError as error:
        raise _unreachable(error.reason, endpoint) from None
    except OSError as error:
        raise _unreachable(error, endpoint) from None
    if len(raw) > _LARGEST:
        raise EndpointError(f"{here} answers with more than {_LARGEST >> 20} MiB")
    try:
        return json.loads(raw)
    except ValueError:
        raise EndpointError(
            f"{here} answers what is not JSON: is base_url the address of an OpenAI-compatible "
            "server, up to /v1?"
        ) from None


def _broken(error: BaseException, endpoint: Endpoint) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {endpoint.timeout_s:g} s (timeout_s)"
    return "the connection broke before the answer was whole"


def _unreachable(reason: Any, endpoint: Endpoint) -> Exception:
    """What to raise where no connection came about."""
    here = origin(endpoint.base_url)
    if isinstance(reason, TimeoutError | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return _Passing(_broken(reason, endpoint))
    if isinstance(reason, ConnectionRefusedError):
        return EndpointError(f"nothing listens at {here}: start the server, or mend base_url")
    if isinstance(reason, socket.gaierror):
        return EndpointError(f"there is no host by the name in {here}: mend base_url")
    if isinstance(reason, ssl.SSLError):
        return EndpointError(f"{here}: no trusted connection ({reason.reason or 'TLS error'})")
    return EndpointError(f"{here} cannot be reached: {getattr(reason, 'strerror', None) or reason}")


def _refusal(error: HTTPError, endpoint: Endpoint, request: ChatRequest) -> Exception:
    """What to raise for an HTTP status that is no success."""
    here, status = origin(endpoint.base_url), error.code
    if status in (408, 429) or status >= 500:
        busy = "is busy" if status == 429 else "fails"
        return _Passing(f"the server {busy} (HTTP {status})", status, _wait(error))
    said = _said(error, request)
    if status in (401, 403):
        how = (
            f"check the key in {endpoint.api_key_env}"
            if endpoint.api_key_env
            else ("name the environment variable that holds the key in api_key_env")
        )
        return EndpointError(f"{here} refuses access (HTTP {status}): {how}", status)
    if status == 404:
        return EndpointError(
            f"{here} has no model '{endpoint.model}', or no {urlsplit(endpoint.base_url).path}/"
            f"{request.path} (HTTP 404): compare with its /models{said}",
            status,
        )
    return EndpointError(f"{here} does not take the question (HTTP {status}){said}", status)


def _wait(error: HTTPError) -> float | None:
    """Seconds of a Retry-After header; None where it holds no number."""
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _said(error: HTTPError, request: ChatRequest) -> str:
    """The server's own words, unless they repeat a piece of the question."""
    try:
        body = json.loads(error.read(1 << 16))
    except (ValueError, OSError, http.client.HTTPException):
        return ""
    held = body.get("error", body) if isinstance(body, Mapping) else None
    message = held.get("message") if isinstance(held, Mapping) else held
    if not isinstance(message, str) or not message.strip():
        return ""
    text = " ".join(message.split())[:300]
    return "" if _quotes(text, request) else f'; it says: "{text}"'


def _quotes(text: str, request: ChatRequest) -> bool:
    """Whether a server's message holds one of the texts asked about, or a piece of one."""
    for asked in _texts(request.messages):
        whole = " ".join(asked.split())
        starts = range(max(1, len(text) - _WINDOW + 1))
        if whole and (whole in text or any(text[i : i + _WINDOW] in whole for i in starts)):
            return True
    return False


def _texts(value: Any) -> Iterator[str]:
    """Every string inside a request's messages, roles and other names left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (
            t for key in ("content", "text", "image_url", "url") for t in _texts(value.get(key))
        )
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def _replies(answer: Any, endpoint: Endpoint, request: ChatRequest) -> list[Reply]:
    """The choices of an answer. Raises EndpointError where it has another form."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    replies = [_reply(choice) for choice in choices] if isinstance(choices, list) else []
    found = [reply for reply in replies if reply is not None]
    if len(found) != len(replies) or len(found) != request.n:
        raise EndpointError(
            f"{origin(endpoint.base_url)} answers without the {request.n} replies asked for: it "
            f"gives {len(found)} in OpenAI's form (choices[].message.content)"
        )
    return found


def _reply(choice: Any) -> Reply | None:
    if not isinstance(choice, Mapping):
        return None
    message = choice.get("message", choice)
    if not isinstance(message, Mapping) or not {"content", "text"} & set(message):
        return None
    text = message.get("content", message.get("text"))
    if isinstance(text, list):
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, Mapping))
    if text is not None and not isinstance(text, str):
        return None
    return Reply(text or "", str(choice.get("finish_reason") or "stop"))
