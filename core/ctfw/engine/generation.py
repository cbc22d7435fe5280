"""Who writes the reports: the weights in this process, vLLM, or a server.

All three write the same cases under the same images, so that floors and grounded gain mean the
same for each. Likelihoods come from weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ctfw import processes
from ctfw.answers import AnswerCache
from ctfw.contracts import Backbone
from ctfw.endpoint import ChatRequest, Endpoint, map_chat
from ctfw.errors import MissingPackage, UserError
from ctfw.exported import ExportingBackbone, ServableBackbone
from ctfw.runs.files import whole_folder
from ctfw.settings import Generation

if TYPE_CHECKING:
    from ctfw.engine.reliance import Swaps

NO_LIKELIHOODS = "a server writes reports, and does not tell how likely a given one is"
Text = tuple[str, str]


class Writer(Protocol):
    """Writes the reports of some cases of `swaps` under one image condition."""

    def batch(self, settings: Generation) -> int:
        """Cases that are written, and after a kill written again, together."""

    def write(
        self, swaps: Swaps, condition: str, part: Sequence[int], settings: Generation
    ) -> list[Text]:
        """(text, "stop" or "length") of each case in `part`, in order."""


class FromWeights:
    """The backbone itself."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def batch(self, settings: Generation) -> int:
        return settings.batch_size

    def write(
        self, swaps: Swaps, condition: str, part: Sequence[int], settings: Generation
    ) -> list[Text]:
        images = [swaps.image(condition, i) for i in part]
        return self._backbone.generate(images, settings, swaps.seed + part[0])


class FromServer:
    """A server of OpenAI's chat protocol that takes images; slices go as PNG inside the request.

    Answers are kept, so that a job that was killed asks no question twice. Raises UserError for a
    backbone that does not say how a scan becomes a conversation.
    """

    def __init__(
        self, backbone: Backbone, endpoint: Endpoint, workers: int, cache: AnswerCache
    ) -> None:
        self._backbone = _servable(backbone)
        self._endpoint, self._workers, self._cache = endpoint, workers, cache

    def batch(self, settings: Generation) -> int:
        return max(settings.batch_size, self._workers)

    def write(
        self, swaps: Swaps, condition: str, part: Sequence[int], settings: Generation
    ) -> list[Text]:
        requests = [
            ChatRequest(
                self._backbone.conversation(swaps.volume(condition, i)),
                settings.temperature,
                settings.max_new_tokens,
                swaps.seed + i,
            )
            for i in part
        ]
        title = f"{self._endpoint.model}: writing"
        replies = map_chat(self._endpoint, requests, self._workers, self._cache, title)
        return [
            (reply.text.strip(), "length" if reply.finish == "length" else "stop")
            for (reply,) in replies
        ]


class FromVllm:
    """vLLM with the checkpoint exported for it. Raises MissingPackage, or UserError as FromServer.

    folder   of the exported model; made once
    facts    of the checkpoint
    longest  tokens of a scan, its prompt and its report together: vLLM reserves memory for these,
             and not for all that the model could read

    The backbone is used up: its weights go to vLLM.
    """

    BATCH = 64  # vLLM fills its own batches; this many scans wait in memory

    def __init__(
        self, backbone: Backbone, folder: Path, facts: Mapping[str, Any], longest: int
    ) -> None:
        try:
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise MissingPackage(
                f"generation.engine is vllm, which cannot be imported ({error}); run: pip install "
                "vllm, or set generation.engine to transformers"
            ) from error
        if processes.world() > 1:
            raise UserError(
                "generation.engine vllm writes in one process: start the run without --nproc, or "
                "set generation.engine to transformers"
            )
        self._backbone = _servable(backbone)
        if not isinstance(backbone, ExportingBackbone):
            raise UserError("this backbone cannot be exported for vLLM")
        if not folder.is_dir():
            with whole_folder(folder) as unfinished:
                backbone.export(unfinished, facts, merged=True)
        self._llm = LLM(
            model=str(folder), max_model_len=longest, limit_mm_per_prompt={"video": 1, "image": 0}
        )
        self._params: Callable[..., Any] = SamplingParams

    def batch(self, settings: Generation) -> int:
        return max(settings.batch_size, self.BATCH)

    def write(
        self, swaps: Swaps, condition: str, part: Sequence[int], settings: Generation
    ) -> list[Text]:
        asked = [self._backbone.video_request(swaps.volume(condition, i)) for i in part]
        params = [
            self._params(
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.max_new_tokens,
                seed=swaps.seed + i,
            )
            for i in part
        ]
        made = [each.outputs[0] for each in self._llm.generate(asked, params, use_tqdm=False)]
        return [
            (text.text.strip(), "length" if text.finish_reason == "length" else "stop")
            for text in made
        ]


def _servable(backbone: Backbone) -> ServableBackbone:
    if not isinstance(backbone, ServableBackbone):
        raise UserError(
            f"{type(backbone).__name__} does not say how a scan is shown to a server: set "
            "generation.engine to transformers"
        )
    return backbone
