"""Stage `report`: write the reports of a split, score them beside floors, measure reliance."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw import processes
from ctfw.answers import AnswerCache
from ctfw.contracts import Backbone
from ctfw.engine.accelerator import make_accelerator
from ctfw.engine.checkpoint import read_facts
from ctfw.engine.context import Context, StageResult
from ctfw.engine.generation import (
    NO_LIKELIHOODS,
    FromServer,
    FromVllm,
    FromWeights,
    Writer,
)
from ctfw.engine.images import TokenBank
from ctfw.engine.judges import Judges
from ctfw.engine.reliance import Swaps, predictions, reference_nll, write_all
from ctfw.page.drawings import save_drawings
from ctfw.runs.files import read_lines, write_json, write_lines, write_text
from ctfw.scoring.assess import Assessment, as_json, assess
from ctfw.scoring.conditions import ConditionMet, numbers_of, parse_all, reasons
from ctfw.scoring.facts import generation_facts, per_case_csv
from ctfw.scoring.likelihood import ReferenceNLL
from ctfw.scoring.predictions import write_predictions
from ctfw.types import CaseTable
from ctfw_plugins.stages.browse import Browser, safe_name, spread
from ctfw_plugins.stages.configs import ReportConfig

CONDITIONS = ("own", "another", "noise", "blank")
"""Images under which the references are read; `ctfw audit` has more."""

PROMPT = 512
"""Tokens that are left for the prompt, and twice those of the first scan for any other."""


class Report:
    """Reports with the own and with another patient's image, and what follows from them."""

    several_processes = True

    def __init__(self, config: ReportConfig, context: Context) -> None:
        self.config = config
        judges = Judges.build(config.labeler, config.metrics, context)
        self.labeler, self.metrics = judges.labeler, judges.metrics
        where = f"stages.{context.stage}.fail_if"
        self.fail_if = parse_all(config.fail_if, where)
        judges.check(self.fail_if, where)

    def run(self, context: Context) -> StageResult:
        assert context.dataset is not None
        assert context.images is not None
        backbone = self._backbone(context)
        cases = context.dataset.cases(self.config.split)[: self.config.cases]
        train = context.dataset.cases("train")
        bank = TokenBank(context.images, backbone, frozen=True)
        swaps = Swaps.of(bank, list(cases), context.seed)

        tokens = self._likelihoods(backbone, swaps, context)  # before the weights may go to vLLM
        writer = self._writer(backbone, swaps, context)
        own = self._write(writer, swaps, "own", context)
        swapped = self._write(writer, swaps, "another", context)
        if not processes.is_main():
            return StageResult()
        found = assess(
            predictions(cases.cases, own),
            self.metrics,
            self.labeler,
            list(train),
            predictions(cases.cases, swapped),
            nll=None if tokens else dict.fromkeys(CONDITIONS, np.full(len(cases), np.nan)),
            resamples=self.config.resamples,
            seed=context.seed,
            tokens=tokens,
            cases=cases,
        )
        self._save(found, tokens, backbone, cases, context)
        self._browse(found, swaps, writer, cases, context)
        self._judge(found, context)
        return StageResult({"predictions": "predictions.jsonl"}, headline(found))

    def _backbone(self, context: Context) -> Backbone:
        """With its weights, on the device; without any where a server writes."""
        assert context.make_backbone is not None
        backbone = context.make_backbone()
        if self.config.generation.engine != "openai":
            accelerator = make_accelerator(self.config.training, trains=False)
            backbone.load(context.inputs["start_from"] / "model")
            backbone.module().to(accelerator.device).eval()
        return backbone

    def _likelihoods(
        self, backbone: Backbone, swaps: Swaps, context: Context
    ) -> ReferenceNLL | None:
        """The references read under each image; None where a server writes."""
        generation = self.config.generation
        if generation.engine == "openai":
            context.log(f"{context.stage}: no likelihood reliance, {NO_LIKELIHOODS}")
            return None
        if processes.world() == 1:  # several processes compute what their cases need
            swaps.bank.fill(list(swaps.cases), f"{context.stage}: read scans")
        return reference_nll(
            backbone, swaps, CONDITIONS, generation.batch_size, context.folder, context.stage,
            self.labeler,
        )  # fmt: skip

    def _writer(self, backbone: Backbone, swaps: Swaps, context: Context) -> Writer:
        generation = self.config.generation
        if generation.engine == "openai":
            assert generation.endpoint is not None
            return FromServer(backbone, generation.endpoint, generation.workers, AnswerCache())
        if generation.engine == "vllm":
            facts = read_facts(context.inputs["start_from"])
            t, rows, columns = backbone.token_grid(swaps.image("own", 0))
            longest = 2 * t * rows * columns + PROMPT + generation.max_new_tokens
            return FromVllm(backbone, context.folder / "for-vllm", facts, longest)
        return FromWeights(backbone)

    def _write(
        self, writer: Writer, swaps: Swaps, condition: str, context: Context
    ) -> list[tuple[str, str]]:
        title = f"{context.stage}: write ({condition} image)"
        file = context.folder / f"generated.{condition}.jsonl"
        return write_all(writer, swaps, condition, self.config.generation, file, title)

    def _judge(self, found: Assessment, context: Context) -> None:
        """Raise ConditionMet where `fail_if` says so; everything is saved by then."""
        met = reasons(self.fail_if, numbers_of(found, generation_facts(found.predictions)))
        if met:
            raise ConditionMet(
                f"stages.{context.stage}.fail_if: {'; '.join(met)}. The scores are kept: "
                f"{context.folder / 'scores.json'}"
            )

    def _save(
        self,
        found: Assessment,
        tokens: ReferenceNLL | None,
        backbone: Backbone,
        cases: CaseTable,
        context: Context,
    ) -> None:
        chosen = self.config.generation
        generation = chosen.decoding | generation_facts(found.predictions)
        generation |= {"prompt": backbone.prompt}
        if chosen.engine != "transformers":
            generation["engine"] = chosen.engine
        if chosen.endpoint is not None:
            generation["model"] = chosen.endpoint.model
        start = context.inputs.get("start_from")
        scores = as_json(found)
        if tokens is None:
            scores["reliance"]["likelihood_missing"] = NO_LIKELIHOODS
            note = f"likelihood reliance is not known: {NO_LIKELIHOODS}"
            scores["table"]["notes"] = [*scores["table"]["notes"], note]
        scores |= {
            "synthetic": context.synthetic,
            "split": self.config.split,
            "checkpoint": start.name if start is not None else None,
            "generation": generation,
            "fingerprint": cases.fingerprint(),
            "labeler_agreement": self._agreement(cases),
            "fail_if": [str(condition) for condition in self.fail_if],
        }
        for name, made in (("", found.predictions), (".another", found.another)):
            file = context.folder / f"predictions{name}.jsonl"
            write_predictions(file, made, self.labeler.names, synthetic=context.synthetic)
        table = per_case_csv(found, synthetic=context.synthetic)
        write_text(context.folder / "per_case.csv", table)
        write_json(context.folder / "scores.json", scores)
        save_drawings(context.folder, scores)

    def _agreement(self, cases: CaseTable) -> float | None:
        """Share of label cells in which the labeler, reading the reference, agrees with the data
        set's own labels; None where they are another label set."""
        if cases.label_names != tuple(self.labeler.names) or any(c.labels is None for c in cases):
            return None
        return float((self.labeler.label(cases.reports) == cases.labels).mean())

    def _browse(
        self,
        found: Assessment,
        swaps: Swaps,
        writer: Writer,
        cases: CaseTable,
        context: Context,
    ) -> None:
        """Test cases with the image that was swapped in, training cases with their negatives."""
        assert context.images is not None
        assert context.dataset is not None
        browser = Browser(context.folder, context.images, self.labeler, cases.label_names)
        place = {case.id: i for i, case in enumerate(cases)}
        partners = swaps.partners
        lines = []
        for case in spread(cases.cases, self.config.browse):
            i = place[case.id]
            negative = {
                "kind": "swap",
                "role": "swapped in at test",
                "case": partners[i].id,
                "image": browser.picture(
                    context.images.volume(partners[i]), f"{safe_name(case.id)}.swap.png"
                ),
                "labels": sorted(browser.labels_of(partners[i].report)),
                "note": {},
                "generated": found.another[i].generated,
            }
            lines.append(browser.entry(case, found.predictions[i].generated, negative))
        lines += self._anchors(browser, swaps.bank, writer, context)
        write_lines(context.folder / "cases.jsonl", lines)

    def _anchors(
        self, browser: Browser, bank: TokenBank, writer: Writer, context: Context
    ) -> list[dict[str, Any]]:
        """Training cases whose negatives the fine-tuning stage has kept as examples."""
        assert context.dataset is not None
        start = context.inputs.get("start_from")
        if start is None:
            return []
        tuned = start.parent.parent
        examples = read_lines(tuned / "examples.jsonl")[: self.config.browse_train]
        train = context.dataset.cases("train")
        lines = []
        for example in examples:
            case = train.by_id.get(example["anchor"])
            if case is None:
                continue
            alone = Swaps(bank, [case], [case], context.seed)
            made = writer.write(alone, "own", [0], self.config.generation)
            picture = tuned / example["image"]
            target = context.folder / "cases" / f"{safe_name(case.id)}.negative.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(picture.read_bytes())
            partner = train.by_id.get(example["case"] or "")
            negative = {
                "kind": example["kind"],
                "role": "trained against",
                "case": example["case"],
                "image": f"cases/{target.name}",
                "labels": sorted(browser.labels_of(partner.report)) if partner else None,
                "note": example["note"],
                "generated": None,
            }
            lines.append(browser.entry(case, made[0][0], negative))
        return lines


def headline(found: Assessment) -> dict[str, float]:
    """The numbers that `ctfw compare` shows first."""
    numbers = {"macro_f1": found.value("macro-f1"), "bleu_4": found.value("bleu-4")}
    if found.grounded_gain is not None:
        numbers["grounded_gain"] = found.grounded_gain.value
    if np.isfinite(found.likelihood["another"].value if "another" in found.likelihood else np.nan):
        numbers["likelihood_reliance"] = found.likelihood["another"].value
    return numbers
