"""Reports from a server and from vLLM: the same cases under the same images."""

from __future__ import annotations

import base64
import io
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Instead, Served
from PIL import Image

from ctfw.answers import AnswerCache
from ctfw.endpoint import Endpoint, EndpointError
from ctfw.engine.generation import FromServer, FromVllm
from ctfw.engine.images import ImageBank, TokenBank
from ctfw.engine.reliance import Swaps, write_all
from ctfw.errors import MissingPackage, UserError
from ctfw.exported import ServableBackbone
from ctfw.settings import Generation
from ctfw.testing import tiny_cases
from ctfw.testing.data import REPORTS
from ctfw.types import CaseTable, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.backbones.configs import Qwen25VLConfig, RandomShape
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

SHAPE = RandomShape(
    hidden_size=64, layers=1, intermediate_size=96, vision_hidden_size=32, vision_layers=1,
    vision_intermediate_size=48, vocabulary=320,
)  # fmt: skip


def read(path: Path) -> Volume:
    """`case-7.nii.gz`: four slices 5 mm apart; the first has the grey value 7 in its corner."""
    number = int(path.name.split(".")[0].split("-")[1])
    array = np.full((4, 28, 28), -1, np.float32)
    array[0, 0, 0] = number * 2 / 255 - 1
    return Volume(array, np.diag([-3.0, -3.0, 5.0, 1.0]), "normalised")


@pytest.fixture
def backbone() -> Qwen25VL:
    """As a server needs it: never built, without weights."""
    return Qwen25VL(Qwen25VLConfig(shape=SHAPE))


@pytest.fixture
def cases() -> CaseTable:
    return tiny_cases(12)


@pytest.fixture
def swaps(backbone: Qwen25VL, cases: CaseTable) -> Swaps:
    images = ImageBank(VolumePipeline(lambda path: SliceStream.of(read(path)), [], []))
    return Swaps.of(TokenBank(images, backbone, frozen=True), list(cases), 4)


def slices_of(body: dict[str, Any]) -> list[np.ndarray]:
    """The pictures inside a request."""
    parts = body["messages"][-1]["content"]
    found = []
    for part in parts[:-1]:
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def looks(body: dict[str, Any]) -> Served:
    """A model that reads the corner pixel."""
    number = int(slices_of(body)[0][0, 0])
    return Served(f" case {number} \n", "length" if number == 3 else "stop")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(looks) as running:
        yield running


def writer(backbone: Any, server: ChatServer, folder: Path) -> FromServer:
    endpoint = Endpoint(base_url=server.url, model="reader", retries=2)
    return FromServer(backbone, endpoint, 4, AnswerCache(folder / "answers"))


@pytest.mark.parametrize("condition", ["own", "another"])
def test_server_sees_the_slices_of_each_case(
    condition: str, backbone: Qwen25VL, swaps: Swaps, server: ChatServer, tmp_path: Path
) -> None:
    settings = Generation(max_new_tokens=77)
    made = write_all(
        writer(backbone, server, tmp_path), swaps, condition, settings, tmp_path / "g.jsonl", "t"
    )
    shown = [int(name.split("-")[1]) for name in swaps.names(condition)]
    assert made == [(f"case {n}", "length" if n == 3 else "stop") for n in shown]
    body = server.seen[0].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("reader", 0.0, 77)
    system, user = body["messages"]
    assert system == {"role": "system", "content": backbone.config.system}
    assert user["content"][-1] == {"type": "text", "text": backbone.config.prompt}
    assert [picture.shape for picture in slices_of(body)] == [(28, 28)] * 4


def test_three_windows_become_colours(swaps: Swaps) -> None:
    windows = Qwen25VL(Qwen25VLConfig(shape=SHAPE, channels="windows"))
    parts = windows.conversation(swaps.volume("own", 5))[-1]["content"]
    (picture, *_) = slices_of({"messages": [{"content": parts}]})
    assert picture.shape == (28, 28, 3)
    hu = (5 * 2 / 255 - 1) * 1000
    assert picture[0, 0].tolist() == [round((hu + 1350) / 1500 * 255), 0, 0]


def test_killed_job_asks_no_question_twice(
    backbone: Qwen25VL, swaps: Swaps, server: ChatServer, tmp_path: Path
) -> None:
    settings, file = Generation(), tmp_path / "g.jsonl"
    whole = write_all(writer(backbone, server, tmp_path), swaps, "own", settings, file, "t")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]) + lines[5][:9])
    asked = len(server.seen)
    again = write_all(writer(backbone, server, tmp_path), swaps, "own", settings, file, "t")
    assert (again, len(server.seen)) == (whole, asked)
    assert file.read_text() == "".join(lines)


def test_busy_server_is_asked_again_and_a_refusal_is_told(
    backbone: Qwen25VL,
    swaps: Swaps,
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ctfw.endpoint_http.sleep", lambda seconds: None)
    made = writer(backbone, server, tmp_path)
    server.script = [Instead(503)]
    assert made.write(swaps, "own", [7], Generation()) == [("case 7", "stop")]
    server.script = [Instead(400, b'{"error": {"message": "at most 1 image"}}')]
    with pytest.raises(EndpointError, match=r"does not take the question .*at most 1 image"):
        made.write(swaps, "own", [8], Generation())


def test_backbone_that_shows_nothing_to_servers_is_refused(
    server: ChatServer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"set generation\.engine to transformers"):
        writer(object(), server, tmp_path)


@dataclass
class Made:
    text: str
    finish_reason: str


class StandIn(types.ModuleType):
    """The part of vLLM that is called, with what it was called with."""

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        super().__init__("vllm")
        self.loaded: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.params: list[dict[str, Any]] = []
        stand_in = self

        class LLM:
            def __init__(self, **options: Any) -> None:
                from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

                Qwen2_5_VLForConditionalGeneration.from_pretrained(options["model"])
                AutoTokenizer.from_pretrained(options["model"])
                stand_in.loaded.append(options)

            def generate(
                self, requests: Sequence[dict[str, Any]], params: Sequence[dict[str, Any]], **_: Any
            ) -> list[Any]:
                assert len(requests) == len(params)
                stand_in.asked += requests
                stand_in.params += params
                made = [Made(answer(request), "length") for request in requests]
                return [types.SimpleNamespace(outputs=[each]) for each in made]

        self.LLM = LLM
        self.SamplingParams = dict


FACTS = {"preprocess": [], "generation": {"max_new_tokens": 9}}


def test_vllm_gets_the_exported_model_and_each_scan_as_a_video(
    swaps: Swaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = StandIn(lambda request: f" {request['multi_modal_data']['video'][0, 0, 0, 0]} ")
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    backbone = Qwen25VL(Qwen25VLConfig(shape=SHAPE))
    backbone.build(REPORTS, 1)
    made = FromVllm(backbone, tmp_path / "for-vllm", FACTS, 300)
    settings = Generation(engine="vllm", max_new_tokens=9)
    texts = write_all(made, swaps, "another", settings, tmp_path / "g.jsonl", "t")
    assert texts == [(str(int(name.split("-")[1])), "length") for name in swaps.names("another")]
    (loaded,) = stand_in.loaded
    assert loaded["model"] == str(tmp_path / "for-vllm")
    assert loaded["max_model_len"] == 300
    request = stand_in.asked[0]
    assert request["prompt"].count("<|vision_start|><|video_pad|><|vision_end|>") == 1
    assert request["prompt"].endswith("<|im_start|>assistant\n")
    video = request["multi_modal_data"]["video"]
    assert (video.shape, video.dtype) == ((4, 28, 28, 3), np.uint8)
    # Two slices of 5 mm are one patch: 10 mm, or 6.67 positions of 1.5 mm; the model counts 2
    # positions per second and a patch of two frames lasts 2 / fps seconds.
    fps = request["mm_processor_kwargs"]["fps"]
    assert 2 * 2 / fps == pytest.approx(10 / 1.5)
    assert stand_in.params[0] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 9, "seed": 4}


def test_exported_model_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", StandIn(lambda request: ""))
    backbone = Qwen25VL(Qwen25VLConfig(shape=SHAPE))
    backbone.build(REPORTS, 1)
    FromVllm(backbone, tmp_path / "for-vllm", FACTS, 300)
    written = (tmp_path / "for-vllm" / "model.safetensors").stat().st_mtime_ns
    FromVllm(Qwen25VL(Qwen25VLConfig(shape=SHAPE)), tmp_path / "for-vllm", FACTS, 300)
    assert (tmp_path / "for-vllm" / "model.safetensors").stat().st_mtime_ns == written


def test_vllm_that_is_not_there_is_named(
    backbone: Qwen25VL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingPackage, match=r"pip install vllm, or set generation\.engine"):
        FromVllm(backbone, tmp_path / "for-vllm", FACTS, 300)


def test_real_vllm_loads_the_exported_folder(swaps: Swaps, tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    backbone = Qwen25VL(Qwen25VLConfig(shape=SHAPE))
    backbone.build(REPORTS, 1)
    made = FromVllm(backbone, tmp_path / "for-vllm", FACTS, 300)
    ((_, finish),) = made.write(swaps, "own", [0], Generation(engine="vllm", max_new_tokens=4))
    assert finish in ("stop", "length")


def test_the_built_in_backbone_can_be_served(backbone: Qwen25VL) -> None:
    assert isinstance(backbone, ServableBackbone)
