"""A bare CT file through a checkpoint's, or a recipe's, own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.contracts import VolumeStore
from ctfw.engine.bench import make_pipeline
from ctfw.engine.checkpoint import check_model, read_facts
from ctfw.engine.context import Context
from ctfw.errors import BadCheckpoint, RecipeInvalid
from ctfw.recipe.blocks import Builder
from ctfw.recipe.node import Problems, wrap
from ctfw.runs.directory import checkpoint_of

if TYPE_CHECKING:
    from ctfw.contracts import Backbone
    from ctfw.plugins import Plugins
    from ctfw.volumes.pipeline import VolumePipeline

BROUGHT = ("preprocess", "backbone", "generation")


@dataclass(frozen=True)
class Packed:
    """What a checkpoint brings: its facts, its chain from a file to the model's input."""

    folder: Path
    facts: dict[str, Any]
    pipeline: VolumePipeline
    context: Context


def unpack(path: Path, plugins: Plugins) -> Packed:
    """A checkpoint, stage or run folder. Raises BadCheckpoint, or RecipeInvalid when a component
    that it was made with is not installed."""
    folder = checkpoint_of(path)
    facts = read_facts(folder)
    if lacks := [name for name in BROUGHT if name not in facts]:
        raise BadCheckpoint(
            f"{folder / 'ctfw.json'} has no {' and no '.join(lacks)}: it was not written by a run"
        )
    context = Context(synthetic=bool(facts.get("synthetic")))
    steps = [block_of(plain, "preprocessor", plugins) for plain in facts["preprocess"]]
    loader = facts.get("loader")
    chosen = block_of(loader, "volume_loader", plugins) if loader else None
    return Packed(folder, facts, bare_pipeline(plugins, chosen, steps, context), context)


def bare_pipeline(
    plugins: Plugins, loader: Block | None, steps: list[Block], context: Context
) -> VolumePipeline:
    """The chain without its stores: a single scan leaves nothing in a cache."""
    kept = [block for block in steps if not isinstance(context.build(block), VolumeStore)]
    return make_pipeline(plugins.catalog, loader, kept, context)


def backbone_of(packed: Packed, plugins: Plugins) -> Backbone:
    """The trained model."""
    block = block_of(packed.facts["backbone"], "backbone", plugins)
    backbone: Backbone = packed.context.build(block)
    if not (packed.folder / "model").is_dir():
        raise BadCheckpoint(f"{packed.folder} has no model/ folder")
    check_model(packed.folder)
    backbone.load(packed.folder / "model")
    return backbone


def block_of(plain: dict[str, Any], kind: str, plugins: Plugins) -> Block:
    """A block from its plain form in a checkpoint. Raises RecipeInvalid."""
    from ctfw.errors import Mark

    problems = Problems()
    node = wrap(plain, Mark("checkpoint", 1, 1))
    block = Builder(plugins.catalog, problems, {}).block(node, kind, kind)
    if block is None or problems.found:
        raise RecipeInvalid(problems.found)
    return block
