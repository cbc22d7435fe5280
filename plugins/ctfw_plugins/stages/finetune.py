"""Stage `finetune`: reports from images, each anchor beside a negative where the recipe has one.

Selection is over before the loop starts: sampler, loss and backbone are built, the loop reads
from top to bottom. What is drawn depends on (seed, stage, epoch, case), so a killed and resumed
training repeats the unbroken one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator

from ctfw import processes
from ctfw.component import Block
from ctfw.contracts import Backbone, NegativeSampler
from ctfw.engine.context import Context, StageResult
from ctfw.engine.images import TokenBank
from ctfw.engine.optimise import Optimised
from ctfw.engine.reliance import report_nll, swap_partners
from ctfw.errors import UserError
from ctfw.progress import bar
from ctfw.runs.files import write_json, write_lines
from ctfw.types import Case, CaseTable, LossTerms
from ctfw.volumes.sprite import write_sprite
from ctfw_plugins.stages.configs import FinetuneConfig
from ctfw_plugins.stages.contradictions import idle
from ctfw_plugins.stages.extra import check_known, needs, summed
from ctfw_plugins.stages.lengths import measured
from ctfw_plugins.stages.marks import Conflicts, check_labeler
from ctfw_plugins.stages.mined import Mined
from ctfw_plugins.stages.pairs import PairSource
from ctfw_plugins.stages.step import PairStep
from ctfw_plugins.stages.training import (
    Setup,
    begin,
    mean_of,
    save,
    seed_pass,
    set_rate,
    take_up,
)

EVALUATION_BATCH = 16


class Finetune:
    """Positive and negative of one anchor in one batch, under the loss of the recipe."""

    several_processes = True

    def __init__(self, config: FinetuneConfig, context: Context) -> None:
        self.config = config
        self.loss = summed([context.build(each) for each in (config.loss, *config.extra_losses)])
        check_known(self.loss, context.stage)
        if needs(self.loss, "marks"):
            check_labeler(config.labeler, context.stage)
        self.sampler: NegativeSampler | None = (
            context.build(config.negatives) if config.negatives else None
        )
        if self.loss.uses_negative and self.sampler is None:
            raise UserError(
                f"stages.{context.stage}: loss '{config.loss.name}' needs negatives; add "
                "`negatives: {use: heter}` or choose loss: {use: cross-entropy}"
            )
        if problem := idle(config.negatives, needs(self.loss, "marks")):
            raise UserError(f"stages.{context.stage}: {problem}")
        if not self.loss.uses_negative:
            self.sampler = None
        check_batch(self.sampler, [config.loss, *config.extra_losses], config, context.stage)

    def run(self, context: Context) -> StageResult:
        if self.config.negatives is not None and self.sampler is None:
            context.log(
                f"{context.stage}: loss '{self.config.loss.name}' reads no negatives, so none of "
                f"'{self.config.negatives.name}' are drawn"
            )
        setup = begin(self.config.training, context)
        accelerator, backbone, plan = setup.accelerator, setup.backbone, setup.plan
        training, frozen = plan.training, self.config.freeze_vision
        self._tell_lengths(setup, context)
        module = backbone.module()
        module.train()
        backbone.tower.requires_grad_(not frozen)
        if training.gradient_checkpointing:
            enable_checkpointing(module)
        model = Optimised(module, accelerator, training)

        conflicts = self._conflicts(setup, context)
        bank = TokenBank(setup.images, backbone, frozen=frozen, begin=True)
        bank.fill([*setup.cases, *setup.held_out], f"{context.stage}: read scans")
        threads = 0 if frozen else training.loaders
        mined = self._mined(bank, setup, context)
        pairs = PairSource(setup.cases, bank, plan, self.sampler, threads, mined, conflicts)
        validator = Validator(backbone, bank, setup.held_out, context.seed, accelerator)
        state = take_up(setup, model, context)
        step = PairStep(backbone, model.wrapped, self.loss, accelerator, context.stage)

        with bar(context.stage, plan.steps, state.step) as progress:
            passes: list[LossTerms] = []
            for pair in pairs(state.step):
                seed_pass(context, pair.step, len(passes))
                rate = set_rate(model.optimizer, plan, pair.step)
                with accelerator.accumulate(model.wrapped):
                    passes.append(step(pair, pair.step / plan.steps))
                    norm = model.step()
                if not accelerator.sync_gradients:
                    continue

                state.step = pair.step + 1
                values = mean_of([terms.terms for terms in passes])
                values |= {"learning_rate": rate, "grad_norm": norm}
                passes.clear()
                context.step({"step": state.step, "epoch": plan.epoch_of(state.step)} | values)
                progress.advance(note=f"loss {values['positive']:.3f}")
                last, improved = state.step == plan.steps, False
                if last or state.step % training.validate_every == 0:
                    score = validator()
                    improved = state.note(score["positive"])
                    context.step({"step": state.step, "validation": score})
                if improved or last or state.step % training.checkpoint_every == 0:
                    save(setup, model, state, context, improved=improved)
        if self.sampler is not None and processes.is_main():
            write_json(context.folder / "negatives.json", self.sampler.summary())
            keep_examples(pairs, self.config, context)
        return StageResult({"checkpoint": "checkpoints/best"}, {"validation_nll": state.best})

    def _tell_lengths(self, setup: Setup, context: Context) -> None:
        """Check every sample against the model, and say what the training will read and take."""
        everyone = [*setup.cases, *setup.held_out]
        found = measured(setup.backbone, setup.images, everyone)
        if found is not None and processes.is_main():
            pairs, frozen = self.sampler is not None, self.config.freeze_vision
            world = processes.world()
            for line in found.told(
                setup.plan.training, pairs=pairs, frozen=frozen, processes=world
            ):
                context.log(f"{context.stage}: {line}")

    def _mined(self, bank: TokenBank, setup: Setup, context: Context) -> Mined | None:
        """What the model sees of each case, where the sampler looks for its negatives there."""
        if not getattr(self.sampler, "wants_features", False):
            return None
        return Mined(setup.cases, bank, context.folder, context.seed)

    def _conflicts(self, setup: Setup, context: Context) -> Conflicts | None:
        """What finds the tokens that a negative contradicts, where the loss asks for them."""
        if self.sampler is None or not needs(self.loss, "marks"):
            return None
        assert self.config.labeler is not None
        labeler = context.build(self.config.labeler)
        found = Conflicts(setup.backbone, labeler, setup.cases, context.stage)
        assert self.config.negatives is not None
        found.check(self.config.negatives)
        return found


def check_batch(
    sampler: NegativeSampler | None, losses: Sequence[Block], config: FinetuneConfig, stage: str
) -> None:
    """Raises UserError for a forward pass with too few cases for a sampler or a loss, which may
    name the `least_cases` that it compares."""
    users = {block.name: block.component.load() for block in losses}
    if sampler is not None and config.negatives is not None:
        users[config.negatives.name] = type(sampler)
    size = config.training.batch_size
    for name, user in users.items():
        if (least := getattr(user, "least_cases", 1)) > size:
            raise UserError(
                f"stages.{stage}: '{name}' compares the cases of one forward pass, and "
                f"training.batch_size is {size}; set it to {least} or more "
                "(gradient_accumulation does not help)"
            )


def keep_examples(pairs: PairSource, config: FinetuneConfig, context: Context) -> None:
    """Pictures of the first negatives, for the report page."""
    assert config.negatives is not None
    assert context.images is not None
    lines = []
    for i, (anchor, negative) in enumerate(pairs.examples):
        image = f"negatives/{i:02d}.png"
        write_sprite(context.images.negative(anchor, negative), context.folder / image)
        lines.append(
            {
                "anchor": anchor.id,
                "kind": config.negatives.name,
                "case": negative.case.id if negative.case else None,
                "note": negative.note,
                "image": image,
            }
        )
    write_lines(context.folder / "examples.jsonl", lines)


class Validator:
    """Loss on held-out cases with the own image and with another patient's.

    The processes share the batches; a batch is the same whoever reads it.
    """

    def __init__(
        self,
        backbone: Backbone,
        bank: TokenBank,
        cases: CaseTable,
        seed: int,
        accelerator: Accelerator | None = None,
    ) -> None:
        self._backbone, self._bank, self._cases = backbone, bank, cases
        self._partners = swap_partners(list(cases), seed)
        self._half = accelerator.autocast if accelerator is not None else nullcontext

    def __call__(self) -> dict[str, float]:
        """`positive` under the own image, `another` under another patient's; nats per token."""
        return {"positive": self._mean(list(self._cases)), "another": self._mean(self._partners)}

    def _mean(self, shown: list[Case]) -> float:
        """Mean NLL of the reports under the images of `shown`, a batch in memory at a time.

        A process without a batch in the last round reads its first one again: under ZeRO-3 a pass
        needs all of them.
        """
        starts = range(0, len(shown), EVALUATION_BATCH)
        rounds = math.ceil(len(starts) / processes.world())
        total = 0.0
        for turn in range(rounds):
            place = turn * processes.world() + processes.rank()
            start = starts[place % len(starts)]
            images = [self._bank.case(case) for case in shown[start : start + EVALUATION_BATCH]]
            reports = self._cases.reports[start : start + EVALUATION_BATCH]
            with self._half():
                values = report_nll(self._backbone, images, reports, EVALUATION_BATCH)
            total += float(values.sum()) if place < len(starts) else 0.0
        return processes.totals([total])[0] / len(shown)


def enable_checkpointing(module: torch.nn.Module) -> None:
    """Ask every part that can to recompute its activations."""
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    for inner in module.modules():  # the second is the older name
        for name in names:
            enable: Any = getattr(inner, name, None)
            if enable is not None:
                enable({"use_reentrant": False})
                return
