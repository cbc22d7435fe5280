"""Who answers GREEN's questions: a model of this machine, or one behind an address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

from ctfw.answers import AnswerCache, Reply, key_of
from ctfw.endpoint import ChatRequest, map_chat
from ctfw.errors import UserError
from ctfw.local_models import device_of, model_folder, read_model, weights_fingerprint
from ctfw.progress import bar
from ctfw_plugins.metrics.configs import LocalJudge, ServedJudge
from ctfw_plugins.metrics.green_prompt import chat_text

SETTING = "green.generator.weights"
TITLE = "judging pairs of reports"


class Judge(Protocol):
    """Answers questions, the same answer to the same question."""

    @property
    def signature(self) -> str:
        """What decides the answers: model, weights, template, limits."""

    def answers(self, prompts: Sequence[str], cache: AnswerCache) -> list[Reply]:
        """The reply to each prompt, in order; those in the cache are not asked again."""


def make_judge(config: LocalJudge | ServedJudge) -> Judge:
    """The judge of these settings; weights are read at its first question."""
    return Local(config) if isinstance(config, LocalJudge) else Served(config)


class Served:
    """A server of OpenAI's chat protocol; temperature 0."""

    def __init__(self, config: ServedJudge) -> None:
        self.config = config

    @property
    def signature(self) -> str:
        config = self.config
        template = f"{config.template}({config.eos})" if self._raw else "server's"
        return f"served:{config.model}|template:{template}|max-tokens:{config.max_tokens}"

    @property
    def _raw(self) -> bool:
        return self.config.template == "published"

    def answers(self, prompts: Sequence[str], cache: AnswerCache) -> list[Reply]:
        """Raises EndpointError; answers received until then are kept."""
        requests = [self._request(prompt) for prompt in prompts]
        return [r for (r,) in map_chat(self.config, requests, self.config.workers, cache, TITLE)]

    def _request(self, prompt: str) -> ChatRequest:
        config = self.config
        if self._raw:
            # The authors' tokenizer also ends the whole prompt (add_eos_token).
            text = chat_text(prompt, config.eos) + config.eos
            return ChatRequest(text, max_tokens=config.max_tokens)
        return ChatRequest([{"role": "user", "content": prompt}], max_tokens=config.max_tokens)


class Local:
    """A causal language model from a folder; greedy, batches padded on the left."""

    def __init__(self, config: LocalJudge) -> None:
        self.config = config

    @cached_property
    def signature(self) -> str:
        config = self.config
        folder = model_folder(config.weights, SETTING)
        return (
            f"weights:{weights_fingerprint(folder)}|template:{config.template}|"
            f"{self._dtype}|max-length:{config.max_length}"
        )

    @cached_property
    def _device(self) -> str:
        return device_of(self.config.device, "green.generator.device")

    @property
    def _dtype(self) -> str:
        if self.config.dtype != "auto":
            return self.config.dtype
        return "float32" if self._device == "cpu" else "float16"

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        kind = "AutoModelForCausalLM"
        return read_model(self.config.weights, kind, SETTING, self._dtype, self._device)

    def answers(self, prompts: Sequence[str], cache: AnswerCache) -> list[Reply]:
        """Raises UserError or BadCheckpoint for a folder that cannot be used."""
        keys = [key_of("green", self.signature, prompt) for prompt in prompts]
        found = {key: held[0] for key in dict.fromkeys(keys) if (held := cache.get(key))}
        waiting = {k: p for k, p in zip(keys, prompts, strict=True) if k not in found}
        if waiting:
            with bar(TITLE, len(found) + len(waiting), len(found)) as job:
                for key, reply in self._judged(waiting):
                    cache.put(key, [reply])
                    found[key] = reply
                    job.advance()
        return [found[key] for key in keys]

    def _judged(self, waiting: dict[str, str]) -> Iterator[tuple[str, Reply]]:
        """(key, reply) of each prompt, those of like length together."""
        asked = sorted(((self._ids(p), k) for k, p in waiting.items()), key=lambda x: len(x[0]))
        room = self.config.max_length
        yield from ((key, Reply("", "length")) for ids, key in asked if len(ids) >= room)
        fitting = [(ids, key) for ids, key in asked if len(ids) < room]
        size = self.config.batch_size
        for start in range(0, len(fitting), size):
            batch = fitting[start : start + size]
            replies = self._generate([ids for ids, _ in batch])
            yield from zip((key for _, key in batch), replies, strict=True)

    def _ids(self, prompt: str) -> list[int]:
        """Tokens of the prompt in its chat template."""
        _, tokenizer = self._loaded
        if self.config.template == "own":
            if not tokenizer.chat_template:
                raise UserError(
                    f"{SETTING}: the tokenizer in {self.config.weights} has no chat template; set "
                    "template: published for the weights of GREEN"
                )
            turn = [{"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = list(tokenizer(chat_text(prompt, tokenizer.eos_token))["input_ids"])
        # The authors load the tokenizer with add_eos_token, which that of Llama alone obeys.
        if type(tokenizer).__name__.startswith("Llama") and ids[-1] != tokenizer.eos_token_id:
            ids.append(tokenizer.eos_token_id)
        return ids

    def _generate(self, batch: Sequence[Sequence[int]]) -> list[Reply]:
        """Greedy continuations. Each may fill `max_length` counted without its padding, so that
        the length of an answer does not hang on its neighbours, as it does in the authors' code.
        """
        import torch

        model, tokenizer = self._loaded
        width, ends = max(map(len, batch)), self._ends()
        pad = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else ends[0]
        ids = torch.full((len(batch), width), pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        room = [self.config.max_length - len(tokens) for tokens in batch]
        try:
            with torch.inference_mode():
                made = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=max(room),
                    do_sample=False,
                    num_beams=1,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    eos_token_id=ends,
                    pad_token_id=pad,
                )
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"the GPU has no room for {len(batch)} questions at once: lower "
                f"green.generator.batch_size"
            ) from error
        rows = made[:, width:].tolist()
        return [self._reply(row[:most], ends) for row, most in zip(rows, room, strict=True)]

    def _reply(self, tokens: list[int], ends: list[int]) -> Reply:
        _, tokenizer = self._loaded
        stop = next((i for i, token in enumerate(tokens) if token in ends), None)
        text = tokenizer.decode(tokens[:stop], skip_special_tokens=True)
        return Reply(text, "length" if stop is None else "stop")

    def _ends(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's, for another judge also its model's own."""
        model, tokenizer = self._loaded
        ends = [tokenizer.eos_token_id]
        if self.config.template == "own":
            own = model.generation_config.eos_token_id
            ends += own if isinstance(own, list) else [own]
        found = [token for token in dict.fromkeys(ends) if token is not None]
        if not found:
            raise UserError(
                f"{SETTING}: the tokenizer in {self.config.weights} names no end-of-text token "
                "(eos_token), so an answer would never end"
            )
        return found
