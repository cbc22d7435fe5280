"""Backbone `qwen2.5-vl`: the real transformers classes over CT slices in HU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from ctfw.endpoint import Message
from ctfw.errors import BadCheckpoint, BadData
from ctfw.exported import Exported
from ctfw.model_plan import ModelPlan
from ctfw.settings import Generation
from ctfw.types import StepOutput, Volume
from ctfw_plugins.backbones import stored
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.decode import write_reports
from ctfw_plugins.backbones.features import Features
from ctfw_plugins.backbones.kept import Kept
from ctfw_plugins.backbones.lora import add_adapters
from ctfw_plugins.backbones.merge import adapter_note, export_merged
from ctfw_plugins.backbones.pair_batch import as_outputs, pair_batches
from ctfw_plugins.backbones.plan import make_plan
from ctfw_plugins.backbones.positions import temporal_offsets
from ctfw_plugins.backbones.pretrained import DTYPES, read_pretrained
from ctfw_plugins.backbones.processor import HUProcessor, build_processor, prompt_text
from ctfw_plugins.backbones.report_model import ReportModel
from ctfw_plugins.backbones.seen import Seen, patches_of, tokens_of
from ctfw_plugins.backbones.served import conversation, video_request
from ctfw_plugins.backbones.shape import random_config
from ctfw_plugins.backbones.text_batch import Prompt
from ctfw_plugins.backbones.tokenizer import train_tokenizer


class Qwen25VL(Features, Kept):
    """Builds, feeds, saves and loads Qwen2.5-VL."""

    processor: HUProcessor
    model: ReportModel

    def __init__(self, config: Qwen25VLConfig, context: Any = None) -> None:
        self.config = config
        self._seed = int(getattr(context, "seed", 0))
        self._base = stored.Base()
        self._beside: frozenset[str] = frozenset()

    # -- weights ------------------------------------------------------------------------------

    def build(self, corpus: Sequence[str], seed: int) -> None:
        """Pretrained weights, or random ones with a tokenizer trained on `corpus`."""
        torch.manual_seed(seed)
        config = self.config
        if config.weights:
            read = read_pretrained(config.weights, config.dtype, config.attention, local=False)
            qwen, tokenizer = read
        else:
            tokenizer = self._trained_tokenizer(corpus)
            qwen = Qwen2_5_VLForConditionalGeneration._from_config(
                random_config(config.shape, tokenizer),
                attn_implementation=config.attention,
                dtype=DTYPES[config.dtype],
            )
        if config.lora is not None:
            add_adapters(qwen, config.lora, seed)
            self._base = stored.Base.of(config.weights)
        self._adopt(qwen, build_processor(tokenizer, config.channels))

    def _trained_tokenizer(self, corpus: Sequence[str]) -> PreTrainedTokenizerBase:
        texts = [*corpus, *([self.config.system + "\n" + self.config.prompt] * 50)]
        texts += ["system", "user", "assistant"] * 50
        return train_tokenizer(texts, self.config.shape.vocabulary)

    def plan(self, volume: Volume, corpus: Sequence[str]) -> ModelPlan:
        """Tokens and parameters of one volume, without weights. Raises BadData as `encode`."""
        if hasattr(self, "processor"):
            return make_plan(self.config, volume, lambda: self.processor.tokenizer)
        return make_plan(self.config, volume, partial(self._trained_tokenizer, corpus))

    def save(self, folder: Path) -> None:
        """Weights as safetensors, processor, tokenizer and the settings that shape the input.

        With `lora` set: adapters in peft's format, what was trained besides them, and what they
        belong to.
        """
        qwen = self.model.qwen
        stored.write(
            folder, qwen, self.processor, self.config, self._base, self._beside, qwen.state_dict()
        )

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises BadCheckpoint when something is missing or differs."""
        found = stored.read(folder, self.config, self._seed)
        self._base, self._beside = found.base, found.beside
        self._adopt(found.qwen, build_processor(found.tokenizer, self.config.channels))

    def export(self, folder: Path, facts: Mapping[str, Any], *, merged: bool) -> Exported:
        """See `ctfw.exported.ExportingBackbone`; merging uses this model up."""
        if merged:
            return export_merged(folder, self.model.qwen, self.processor, self.config, facts)
        if self.config.lora is None:
            raise BadCheckpoint(
                "it was trained as a whole and holds no adapters: export it with --merged"
            )
        self.save(folder)
        return adapter_note(folder, self._base.weights)

    def conversation(self, volume: Volume) -> list[Message]:
        """See `ctfw.exported.ServableBackbone`; no weights involved."""
        return conversation(volume, self.config)

    def video_request(self, volume: Volume) -> dict[str, Any]:
        """See `ctfw.exported.ServableBackbone`."""
        return video_request(volume, self.config, self.processor)

    def _adopt(self, qwen: Qwen2_5_VLForConditionalGeneration, processor: HUProcessor) -> None:
        self.model = ReportModel(qwen)
        self.processor = processor
        text = prompt_text(processor, self.config.system, self.config.prompt)
        before, _, after = text.partition("<|video_pad|>")
        tokenizer = processor.tokenizer
        token = tokenizer.convert_tokens_to_ids
        self._stop = token("<|im_end|>")
        self._text = Prompt(
            before=tokenizer(before, add_special_tokens=False)["input_ids"],
            after=tokenizer(after, add_special_tokens=False)["input_ids"],
            video=processor.video_token_id,
            pad=token("<|endoftext|>"),
            context=qwen.config.text_config.max_position_embeddings,
        )

    def module(self) -> ReportModel:
        return self.model

    @property
    def tower(self) -> torch.nn.Module:
        """The vision tower, for stages that train or freeze it apart."""
        return self.model.tower

    @property
    def prompt(self) -> str:
        """The text that is recorded with scores."""
        return f"{self.config.system} | {self.config.prompt}"

    # -- images -------------------------------------------------------------------------------

    def encode(self, volume: Volume) -> Seen:
        """Patches and millimetre positions of a preprocessed volume; no weights involved."""
        processor = self.processor.video_processor
        patches, grid = processor.patches(volume)
        mm = np.asarray(volume.slice_positions_mm, np.float64)
        if len(mm) % processor.temporal_patch_size:
            mm = np.append(mm, mm[-1])
        offsets = temporal_offsets(mm, processor.temporal_patch_size, self.config.mm_per_position)
        return Seen(grid, offsets, patches=patches)

    def visual_tokens(self, images: Sequence[Seen]) -> list[torch.Tensor]:
        """(V_i, D) visual tokens of each image, with gradient."""
        patches = torch.cat([patches_of(image) for image in images]).to(self.device)
        grid = torch.tensor([image.grid for image in images], device=self.device)
        return list(self.model.see(patches, grid).split([image.count for image in images]))

    @torch.no_grad()
    def see(self, images: Sequence[Seen]) -> list[Seen]:
        """The same images with their visual tokens computed, without gradient, kept on the host."""
        tokens = self.visual_tokens(images)
        return [
            replace(image, patches=None, tokens=each.cpu())
            for image, each in zip(images, tokens, strict=True)
        ]

    def token_grid(self, image: Seen) -> tuple[int, int, int]:
        """(T, rows, columns) of an image's visual tokens."""
        return image.token_grid

    # -- text ---------------------------------------------------------------------------------

    def report_ids(self, report: str) -> list[int]:
        """Tokens of a report with the end of turn. Raises BadData for an empty one."""
        return [*self._tokenized(report)["input_ids"], self._stop]

    def spans(self, reports: Sequence[str]) -> list[np.ndarray]:
        """(T, 2) character offsets of each report token, the end of turn empty at the end.

        Raises BadData for an empty report, as `forward` does.
        """
        found = []
        for report in reports:
            offsets = self._tokenized(report, return_offsets_mapping=True)["offset_mapping"]
            found.append(np.array([*offsets, (len(report), len(report))], np.int64))
        return found

    def _tokenized(self, report: str, **options: Any) -> Mapping[str, Any]:
        if not report.strip():
            raise BadData("a case has an empty report: nothing to train on or to score")
        found: Mapping[str, Any] = self.processor.tokenizer(
            report, add_special_tokens=False, **options
        )
        return found

    def batch(self, images: Sequence[Seen], reports: Sequence[str]) -> dict[str, torch.Tensor]:
        """What `ReportModel.forward` reads: `Prompt.taught`, and the tokens or patches of all
        images, one after the other. Raises BadData for a sequence longer than the model reads."""
        return self._taught(images, reports) | self._sights(images)

    def _taught(self, images: Sequence[Seen], reports: Sequence[str]) -> dict[str, torch.Tensor]:
        return self._to_device(**self._text.taught(images, [self.report_ids(r) for r in reports]))

    def _to_device(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        return {key: value.to(self.device) for key, value in tensors.items()}

    def _sights(self, images: Sequence[Seen]) -> dict[str, torch.Tensor]:
        """The visual tokens of the images, or what the tower reads of them."""
        if all(image.tokens is not None for image in images):
            return self._to_device(tokens=torch.cat([tokens_of(image) for image in images]))
        grid = torch.tensor([image.grid for image in images])
        return self._to_device(patches=torch.cat([patches_of(i) for i in images]), grid=grid)

    def forward(
        self, images: Sequence[Seen], reports: Sequence[str], module: Any = None
    ) -> StepOutput:
        """Teacher-forced pass; `module` is the engine's wrapped form of `module()`."""
        return as_outputs((module or self.model)(self.batch(images, reports)))[0]

    def forward_pair(
        self,
        images: Sequence[Seen],
        negatives: Sequence[Seen],
        reports: Sequence[str],
        module: Any = None,
    ) -> list[StepOutput]:
        """The positives, then the negatives group by group; see `pair_batches`."""
        made = pair_batches(self._taught, self._sights, images, negatives, reports)
        return as_outputs((module or self.model)(*made))

    # -- generation ---------------------------------------------------------------------------

    def generate(
        self, images: Sequence[Seen], settings: Generation, seed: int = 0
    ) -> list[tuple[str, str]]:
        """(text, "stop" or "length") of each image; prompts padded on the left."""
        batch = self._to_device(**self._text.asked(images)) | self._sights(images)
        was_training = self.model.training
        self.model.eval()
        written, ended = write_reports(
            self.model, batch, settings, self._stop, self._text.pad, seed
        )
        self.model.train(was_training)
        texts = self.processor.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [
            (text.strip(), "stop" if done else "length")
            for text, done in zip(texts, ended.tolist(), strict=True)
        ]
