"""Recipes: reading, merging, validating, expanding and pinning them."""

from __future__ import annotations

from ctfw.recipe.load import dump
from ctfw.recipe.matrix import Variant, expand
from ctfw.recipe.order import Reference
from ctfw.recipe.resolve import resolve
from ctfw.recipe.resolved import ResolvedRecipe, ResolvedStage, preflight

__all__ = [
    "Reference",
    "ResolvedRecipe",
    "ResolvedStage",
    "Variant",
    "dump",
    "expand",
    "preflight",
    "resolve",
]
