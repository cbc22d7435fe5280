"""Whether the packages that are installed fit each other, and the recipe."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ctfw.doctor.finding import Finding, note, ok, problem, warning
from ctfw.doctor.machine import device_for, devices_wanted
from ctfw.doctor.traps import caught, installed_version, read_traps

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene

SHOWN = ("torch", "transformers", "accelerate", "deepspeed", "numpy", "nibabel", "pydicom")
COMPANIONS = ("torchvision", "torchaudio", "deepspeed", "peft", "evaluate", "trl", "flash-attn")
"""Packages that ctfw does not need and that often stand beside it."""


def check(scene: Scene) -> Iterator[Finding]:
    """Versions, requirements that are not met, and known traps."""
    versions = {name: installed_version(name) for name in SHOWN}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield note(f"Python {platform.python_version()}, {told}", versions=versions)
    unmet = unmet_requirements()
    facts = _facts(scene, {name for name, _, _ in unmet})
    found = [
        Finding(
            trap.level,
            f"{trap.package} {version or 'is not installed'}: {trap.trap}",
            advice=trap.advice,
            values={"threads": list(trap.threads)},
            names=tuple(trap.threads),
        )
        for trap, version in caught(read_traps(), facts)
    ]
    yield from found
    told_already = {"torchvision"} if any(f.text.startswith("torchvision") for f in found) else ()
    for name, needs, has in unmet:
        if name in told_already:
            continue
        make = problem if name == "ctfw" else warning
        package = Requirement(needs).name
        text = f"{name} needs {needs}, and {package} {has or 'is not installed'}"
        yield make(text, advice=f"pip install '{needs.partition(';')[0].strip()}'")
    if not unmet and not any(each.level != "note" for each in found):
        yield ok("the installed packages fit each other, and none is known to break this recipe")


def unmet_requirements() -> list[tuple[str, str, str | None]]:
    """(package, its requirement, the version there is) of ctfw, all that it needs, and what often
    stands beside it: what `pip check` says, for the packages that matter here."""
    waiting, seen = ["ctfw", *COMPANIONS], set()
    unmet: list[tuple[str, str, str | None]] = []
    while waiting:
        name = canonicalize_name(waiting.pop(0))
        if name in seen or installed_version(name) is None:
            continue
        seen.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = installed_version(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet.append((name, text, version))
            waiting.append(requirement.name)
    return unmet


def _facts(scene: Scene, at_odds: set[str]) -> dict[str, Any]:
    """What the conditions of traps may ask: settings by their dotted path, and the machine."""
    recipe = scene.recipe
    facts = dict(_flat(recipe.plain()))
    for path, value in list(facts.items()):
        for part in ("training", "backbone"):
            # A stage's own block counts like the shared one.
            if f".{part}." in path and path.startswith("stages."):
                _, _, rest = path.partition(f".{part}.")
                facts[f"{part}.{rest}"] = {*_several(facts.get(f"{part}.{rest}")), value}
    facts["backbone.use"] = recipe.backbone.name
    facts["needs"] = {
        Requirement(need).name for _, block in recipe.blocks() for need in block.component.needs
    }
    facts["gpu"] = scene.needs_torch and device_for(devices_wanted(scene)).gpu
    facts["mismatch"] = "torch" if "torchvision" in at_odds else None
    return facts


def _several(value: Any) -> set[Any]:
    return value if isinstance(value, set) else {value}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every plain value of a mapping."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif not isinstance(value, list):
        yield path, value
