"""`ctfw audit`: how much a trained model uses its image, from a checkpoint and a data set."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.component import plain
from ctfw.contracts import Backbone
from ctfw.engine.altered import ALTERED
from ctfw.engine.audit_data import Material, material
from ctfw.engine.audit_files import save
from ctfw.engine.context import Context
from ctfw.engine.generation import FromWeights
from ctfw.engine.images import TokenBank
from ctfw.engine.judges import judges_of
from ctfw.engine.reliance import CONDITIONS, Swaps, predictions, reference_nll, write_all
from ctfw.engine.scan import Packed, backbone_of
from ctfw.errors import UserError
from ctfw.interruption import stoppable
from ctfw.progress import bar
from ctfw.runs.files import read_json, write_json
from ctfw.runs.lock import only_one
from ctfw.scoring.assess import Assessment, as_json, assess
from ctfw.scoring.conditions import Condition, numbers_of, reasons
from ctfw.scoring.facts import generation_facts
from ctfw.scoring.likelihood import ReferenceNLL
from ctfw.types import Prediction

if TYPE_CHECKING:
    from ctfw.plugins import Plugins
    from ctfw.recipe import ResolvedRecipe


@dataclass(frozen=True)
class Wish:
    """What to measure.

    generate   also write reports under the altered images, not only the own and another patient's
    resamples  of the bootstrap, patients drawn
    """

    split: str = "test"
    cases: int | None = None
    generate: bool = False
    resamples: int = 2000
    fail_if: tuple[Condition, ...] = ()

    @property
    def written(self) -> tuple[str, ...]:
        """The conditions under which reports are written."""
        return CONDITIONS if self.generate else CONDITIONS[:2]


class Audit:
    """One checkpoint on one data set; everything that can be refused is refused when it is made.

    Raises UserError for a recipe without a labeler, metrics, or macro-F1, and for a condition that
    names no number.
    """

    def __init__(
        self, packed: Packed, recipe: ResolvedRecipe, wish: Wish, plugins: Plugins
    ) -> None:
        self.packed, self.recipe, self.wish, self.plugins = packed, recipe, wish, plugins
        self.synthetic = recipe.synthetic or bool(packed.facts.get("synthetic"))
        self.context = Context(seed=recipe.seed, synthetic=self.synthetic)
        self.judges = judges_of(recipe, self.context)
        self.judges.check(wish.fail_if, "--fail-if")
        if recipe.generation.engine != "transformers":
            raise UserError(
                f"generation.engine is {recipe.generation.engine}, and an audit reads likelihoods "
                "from the checkpoint itself: add --set generation.engine=transformers"
            )

    @property
    def digest(self) -> str:
        """Hash of the plan: an audit with the same one can be gone on with."""
        return hashlib.sha256(json.dumps(self.plan(), sort_keys=True).encode()).hexdigest()[:6]

    @functools.cached_property
    def _weights(self) -> str:
        """Hash of what the model's files hold; a copy, which has other times, has the same one."""
        files = sorted(file for file in (self.packed.folder / "model").glob("*") if file.is_file())
        found = hashlib.sha256()
        with bar("audit: check weights", len(files)) as job:
            for path in files:
                with path.open("rb") as file:
                    found.update(f"{path.name} ".encode())
                    found.update(hashlib.file_digest(file, "sha256").digest())
                job.advance(note=path.name)
        return found.hexdigest()[:16]

    def plan(self) -> dict[str, Any]:
        """What the texts and likelihoods in an audit's folder depend on."""
        return {
            "checkpoint": self.packed.folder.name,
            "weights": self._weights,
            "preprocess": self.packed.facts["preprocess"],
            "data": plain(self.recipe.data, local=False),
            "generation": self.recipe.generation.decoding,
            "split": self.wish.split,
            "cases": self.wish.cases,
            "seed": self.recipe.seed,
        }

    def run(self, folder: Path) -> dict[str, Any]:
        """Measure, write everything into `folder`, and return the content of audit.json.

        A folder of the same plan is gone on with. Raises UserError when it holds another one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder), stoppable():
            return self._run(folder)

    def _claim(self, folder: Path, given: Material) -> None:
        file = folder / "plan.json"
        plan = json.loads(json.dumps(self.plan() | {"cases read": given.cases.fingerprint()}))
        if not file.is_file():
            write_json(file, plan)
            return
        before = read_json(file)
        if changed := [key for key in plan if before.get(key) != plan[key]]:
            raise UserError(
                f"{folder} holds another audit (other {', '.join(changed)}): name another folder "
                "with --out, or remove this one"
            )

    def _run(self, folder: Path) -> dict[str, Any]:
        from ctfw.engine.accelerator import make_accelerator

        wish, recipe = self.wish, self.recipe
        given = material(self.packed, recipe, wish.split, wish.cases, self.plugins, self.context)
        _tell(given)
        self._claim(folder, given)
        training = recipe.training.model_copy(update={"engine": "accelerate"})
        backbone = backbone_of(self.packed, self.plugins)
        backbone.module().to(make_accelerator(training).device).eval()
        cases, labeler = list(given.cases), self.judges.labeler
        bank = TokenBank(given.images, backbone, frozen=True)
        bank.fill(cases, "read scans")
        swaps = Swaps.of(bank, cases, recipe.seed)
        made = self._write(backbone, swaps, folder)
        size = recipe.generation.batch_size
        tokens = reference_nll(backbone, swaps, CONDITIONS, size, folder, "audit", labeler)
        found = self._assess(given, made, tokens)
        facts = self._facts(found, given, backbone)
        save(folder, found, tokens, facts, labeler.names)
        return facts

    def _write(self, backbone: Backbone, swaps: Swaps, folder: Path) -> dict[str, list[Prediction]]:
        """Condition -> the reports under that image."""
        made = {}
        for name in self.wish.written:
            file = folder / f"generated.{name}.jsonl"
            title = f"audit: write ({name} image)"
            texts = write_all(
                FromWeights(backbone), swaps, name, self.recipe.generation, file, title
            )
            made[name] = predictions(swaps.cases, texts)
        return made

    def _assess(
        self, given: Material, made: Mapping[str, list[Prediction]], tokens: ReferenceNLL
    ) -> Assessment:
        return assess(
            made["own"],
            self.judges.metrics,
            self.judges.labeler,
            given.train,
            made["another"],
            resamples=self.wish.resamples,
            seed=self.recipe.seed,
            others={name: made[name] for name in ALTERED if name in made},
            tokens=tokens,
            cases=given.cases,
        )

    def _facts(self, found: Assessment, given: Material, backbone: Backbone) -> dict[str, Any]:
        """The content of audit.json."""
        generation = generation_facts(found.predictions)
        met = reasons(self.wish.fail_if, numbers_of(found, generation))
        by_image = {name: generation_facts(each) for name, each in found.swapped.items()}
        brought = self.packed.facts
        model = {key: brought[key] for key in ("recipe", "hash", "stage", "step") if key in brought}
        facts = as_json(found)
        facts["table"]["notes"] = [*facts["table"]["notes"], *given.notes]
        told: dict[str, Any] = {
            "synthetic": self.synthetic,
            "model": {"checkpoint": self.packed.folder.name, **model},
            "data": {
                "recipe": self.recipe.name,
                "dataset": self.recipe.data.name,
                "of": given.of,
                "refused": dict(given.refused),
            },
            "split": self.wish.split,
            "fingerprint": given.cases.fingerprint(),
            "seed": self.recipe.seed,
            "generation": self.recipe.generation.decoding
            | generation
            | {"prompt": backbone.prompt},
            "by_image": {"own": generation, **by_image},
            "fail_if": [str(condition) for condition in self.wish.fail_if],
            "failed": met,
        }
        return facts | told


def _tell(given: Material) -> None:
    for note in given.notes:
        print(f"  {note}", file=sys.stderr)
    if given.refused:
        name, reason = next(iter(given.refused.items()))
        print(
            f"  {len(given.refused)} of {len(given.refused) + len(given.cases)} scans cannot be "
            f"used and are left out; the first, {name}: {reason}",
            file=sys.stderr,
        )
