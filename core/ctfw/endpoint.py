"""A client for servers that speak OpenAI's chat protocol: vLLM, SGLang, llama.cpp, hosted ones.

Neither the key nor the texts are ever printed or put into a message. Redirects to another host
are refused, because the texts would go there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from pydantic import Field, field_validator

from ctfw.answers import AnswerCache, Reply, key_of
from ctfw.config import Local, Strict
from ctfw.errors import UserError
from ctfw.progress import bar

Message = Mapping[str, Any]


class EndpointError(UserError):
    """A server that cannot be reached, refuses, or answers what cannot be understood.

    status  the HTTP status, 0 where there was no answer
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ChatRequest:
    """One question.

    messages  a conversation: {"role", "content"} each, where `content` is a text or a list of
              parts (see `image_part`); or one raw text, which the server continues as it stands,
              without its chat template
    n         replies wanted. Identical requests may get one and the same answer: ask for several
              samples by `n`, or with different seeds
    """

    messages: Sequence[Message] | str
    temperature: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    n: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.messages, str):
            return
        for part in (part for message in self.messages for part in _parts(message)):
            if part.get("type") == "image_url" and not _is_data(part):
                raise ValueError("an image of a chat message must be a data: URL, see image_part")

    @property
    def path(self) -> str:
        """Where it is sent, below the base URL."""
        return "completions" if isinstance(self.messages, str) else "chat/completions"

    def body(self, model: str) -> dict[str, Any]:
        """What is sent; settings that are not given are left to the server."""
        name = "prompt" if isinstance(self.messages, str) else "messages"
        optional = {"max_tokens": self.max_tokens, "seed": self.seed, "stop": list(self.stop)}
        if self.n > 1:
            optional["n"] = self.n
        given = {key: value for key, value in optional.items() if value not in (None, [])}
        return {"model": model, name: self.messages, "temperature": self.temperature} | given


class Endpoint(Strict):
    """Where a model is served, and how patient the client is."""

    base_url: Annotated[str, Local()] = Field(
        description="address up to the version, e.g. http://localhost:8000/v1"
    )
    model: str = Field(min_length=1, description="name under which the server offers the model")
    api_key_env: Annotated[str | None, Local()] = Field(
        None, description="environment variable that holds the key; null: no key is sent"
    )
    timeout_s: Annotated[float, Local()] = Field(
        300.0, gt=0, description="seconds without an answer after which a question is asked again"
    )
    retries: Annotated[int, Local()] = Field(
        4, ge=0, description="further attempts when the server is busy, fails or is silent"
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        from urllib.parse import urlsplit

        parts = urlsplit(value)
        spelt = parts.hostname and value.isprintable() and " " not in value and parts.port != 0
        if parts.scheme not in ("http", "https") or not spelt:
            raise ValueError("must be an address such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise ValueError("must not hold a password: name its variable in api_key_env")
        if parts.query or parts.fragment:
            raise ValueError("must end with the path, without ? and #")
        return value.rstrip("/")

    @overload
    def chat(  # type: ignore[overload-overlap]
        self,
        messages: Sequence[Message],
        *,
        temperature: float = ...,
        max_tokens: int | None = ...,
        seed: int | None = ...,
        stop: Sequence[str] = ...,
        n: Literal[1] = ...,
    ) -> str: ...
    @overload
    def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = ...,
        max_tokens: int | None = ...,
        seed: int | None = ...,
        stop: Sequence[str] = ...,
        n: int,
    ) -> list[str]: ...
    def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        n: int = 1,
    ) -> str | list[str]:
        """The reply to a conversation; a list of `n` replies where `n` is above 1.

        Raises EndpointError.
        """
        asked = ChatRequest(messages, temperature, max_tokens, seed, stop, n)
        texts = [reply.text for reply in self.replies(asked)]
        return texts[0] if n == 1 else texts

    def replies(self, request: ChatRequest) -> list[Reply]:
        """The `request.n` replies, with how each ended. Raises EndpointError."""
        from ctfw.endpoint_http import ask

        return ask(self, request)

    def key(self, request: ChatRequest) -> str:
        """Hash of everything that decides the answer; the key to the cache."""
        return key_of(self.base_url, request.path, request.n, request.body(self.model))


def map_chat(
    endpoint: Endpoint,
    requests: Sequence[ChatRequest],
    workers: int = 8,
    cache: AnswerCache | Path | None = None,
    title: str = "asking the model",
) -> list[list[Reply]]:
    """The replies to each request, in order; identical requests are asked once.

    workers  questions under way at once
    cache    where answers are kept as they come: those already there are not asked again, so a
             job that was killed goes on. None: nothing is kept

    Raises EndpointError at the first question that fails; answers received until then are kept.
    """
    kept = AnswerCache(cache) if isinstance(cache, Path) else cache
    keys = [endpoint.key(request) for request in requests]
    found: dict[str, list[Reply]] = {}
    if kept is not None:
        found = {key: held for key in dict.fromkeys(keys) if (held := kept.get(key)) is not None}
    waiting = {k: r for k, r in zip(keys, requests, strict=True) if k not in found}

    def answer(key: str, request: ChatRequest) -> list[Reply]:
        replies = endpoint.replies(request)
        if kept is not None:
            kept.put(key, replies)
        return replies

    if waiting:
        pool = ThreadPoolExecutor(max_workers=max(1, min(workers, len(waiting))))
        try:
            asked = {pool.submit(answer, key, request): key for key, request in waiting.items()}
            with bar(title, len(found) + len(waiting), len(found)) as job:
                for future in as_completed(asked):
                    found[asked[future]] = future.result()
                    job.advance()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [found[key] for key in keys]


def image_part(data: bytes, mime: str = "image/png") -> dict[str, Any]:
    """An encoded image as a part of a message's `content`, sent inside the request itself."""
    url = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _parts(message: Message) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return (
        [part for part in content if isinstance(part, Mapping)]
        if isinstance(content, (list, tuple))
        else []
    )


def _is_data(part: Mapping[str, Any]) -> bool:
    image = part.get("image_url")
    return isinstance(image, Mapping) and str(image.get("url", "")).startswith("data:")
