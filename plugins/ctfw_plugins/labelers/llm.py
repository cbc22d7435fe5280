"""Report text -> labels, by a language model that a server offers (vLLM, SGLang, hosted ones).

One question per report; the answer is a JSON object that must say true or false of every label.
Answers are kept on disk under a hash of the model, the prompt and the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.answers import AnswerCache
from ctfw.endpoint import ChatRequest, Message, map_chat
from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.labelers.configs import LlmConfig

_SYSTEM = """You read radiology reports and say which findings they state.
Answer with one JSON object and nothing else. Its keys are exactly these, each with true or false:
{keys}
true: the report states the finding as present now, even where it is small, old or unchanged.
false: the report denies the finding, says it is gone, or does not mention it.
A finding that the report calls possible, probable or questionable is {doubt}."""


class Llm:
    """`names` are the labels that were asked for; `signature` names the model and the prompt.

    Raises EndpointError (a UserError) where the server cannot be used.
    """

    def __init__(self, config: LlmConfig, context: Any = None) -> None:
        self.config = config
        self.names: tuple[str, ...] = tuple(config.labels) or CT_RATE_LABELS
        doubt = "true" if config.uncertain == "positive" else "false"
        template = config.prompt or _SYSTEM
        keys = json.dumps(list(self.names), ensure_ascii=False)
        self._system = template.replace("{keys}", keys).replace("{doubt}", doubt)
        self._cache = AnswerCache(config.cache)
        digest = hashlib.sha256(self._system.encode()).hexdigest()[:8]
        self.signature = (
            f"llm|{config.endpoint.model}|prompt:{digest}|uncertain:{config.uncertain}|"
            f"temperature:{config.temperature:g}"
            + (f"|seed:{config.seed}" if config.seed is not None else "")
        )

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, L) int8. A text without a letter or digit has no label and is not sent.

        Raises BadData that names the report whose answers stay unusable.
        """
        labels = np.zeros((len(texts), len(self.names)), np.int8)
        talks: dict[int, list[Message]] = {
            i: [{"role": "system", "content": self._system}, {"role": "user", "content": text}]
            for i, text in enumerate(texts)
            if any(map(str.isalnum, text))
        }
        wrong: dict[int, str] = {}
        for _ in range(self.config.attempts):
            wrong = self._ask(talks, labels)
            talks = {i: talks[i] for i in wrong}
            if not wrong:
                return labels
        if not wrong:
            return labels
        first = min(wrong)
        raise BadData(
            f"labeler llm: {self.config.endpoint.model} gave no usable answer about report "
            f"{first + 1} of {len(texts)} in {self.config.attempts} attempts: {wrong[first]}"
            + (f" ({len(wrong) - 1} more reports failed)" if len(wrong) > 1 else "")
            + ". Try another model, more `max_tokens`, or another `seed`"
        )

    def _ask(self, talks: dict[int, list[Message]], labels: np.ndarray) -> dict[int, str]:
        """Fill in the rows that are answered well; what is wrong with the others, which are
        told so in their conversation."""
        config = self.config
        order = list(talks)
        requests = [
            ChatRequest(tuple(talks[i]), config.temperature, config.max_tokens, config.seed)
            for i in order
        ]
        title = f"{config.endpoint.model}: reading reports"
        replies = map_chat(config.endpoint, requests, config.workers, self._cache, title)
        wrong: dict[int, str] = {}
        for i, (reply, *_) in zip(order, replies, strict=True):
            try:
                labels[i] = read_answer(reply.text, self.names)
            except ValueError as error:
                wrong[i] = str(error)
                talks[i] += [
                    {"role": "assistant", "content": reply.text},
                    {"role": "user", "content": f"Unusable: {error}. Send the JSON object alone."},
                ]
        return wrong


def read_answer(text: str, names: Sequence[str]) -> list[int]:
    """0 or 1 of each name, from the first JSON object in a reply. Raises ValueError in words.

    What a model thinks aloud between <think> and </think> is no part of its reply.
    """
    start = text.find("{", text.rfind("</think>") + 1)
    if start < 0:
        raise ValueError("no JSON object in the answer")
    try:
        pairs = json.JSONDecoder(object_pairs_hook=list).raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg}") from error
    answer = dict(pairs)
    if len(answer) < len(pairs):
        raise ValueError("a label is answered twice")
    if missing := [name for name in names if name not in answer]:
        raise ValueError(f"no answer about {missing[0]!r}")
    if unknown := [name for name in answer if name not in names]:
        raise ValueError(f"{unknown[0]!r} is not one of the labels")
    if strange := [name for name in names if not isinstance(answer[name], bool)]:
        raise ValueError(f"the answer about {strange[0]!r} is neither true nor false")
    return [int(answer[name]) for name in names]
