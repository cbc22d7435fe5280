"""Writes docs/reference from the code: `python docs/generate_reference.py`, or `make docs`.

A test compares the committed pages with what this makes, so the reference cannot fall behind.
Only the built-in plugins are shown, whatever else is installed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_text import (
    anchor,
    body,
    default_of,
    escape,
    fenced,
    prose,
    settings_table,
    signature,
    tidy,
)

from ctfw import contracts, exported, hooks, model_plan, settings
from ctfw.cli import VERBS, app, command_of
from ctfw.component import Component
from ctfw.config import choices, nested_models
from ctfw.plugins import load_plugins
from ctfw.recipe import load, matrix, merge
from ctfw.recipe.resolve import TOP_LEVEL, Header
from ctfw.registry import words
from ctfw.testing.kit import PROTOCOLS

FOLDER = Path(__file__).resolve().parent / "reference"
MACHINE = (
    "A setting marked *machine* is a fact of the machine, such as a path or a device. It is not "
    "part of a recipe's hash: two machines that run one recipe get one hash."
)
NOTICE = "<!-- Made by docs/generate_reference.py; change the code, then run `make docs`. -->"


OPTIONAL = {
    "volume_loader": {"streaming loader": contracts.StreamingLoader},
    "preprocessor": {
        "streaming preprocessor": contracts.StreamingPreprocessor,
        "volume store": contracts.VolumeStore,
        "streaming store": contracts.StreamingStore,
    },
    "negative_sampler": {
        "mining sampler": contracts.MiningSampler,
        "batch sampler": contracts.BatchSampler,
    },
    "backbone": {
        "pair backbone": contracts.PairBackbone,
        "planning backbone": model_plan.PlanningBackbone,
        "exporting backbone": exported.ExportingBackbone,
        "servable backbone": exported.ServableBackbone,
    },
}
"""What a component may offer beyond its kind's contract."""


def pages() -> dict[str, str]:
    """File name -> Markdown of every page."""
    made = {
        "hooks.md": hooks_page(),
        "components.md": components_page(),
        "recipe.md": recipe_page(),
        "cli.md": cli_page(),
    }
    return {name: tidy(f"{NOTICE}\n\n{text}") for name, text in made.items()}


# Hooks and contracts


def hooks_page() -> str:
    parts = [
        "# Hooks and contracts",
        "A plugin is a module that an installed distribution names in the entry-point group "
        f"`{hooks.GROUP}`. It implements any of these hooks, each marked with `@ctfw.hookimpl`.",
        prose(hooks.__doc__),
        "## Declarations",
    ]
    for name, kind in hooks.DECLARES.items():
        parts += [
            f"### `{name}`",
            prose(getattr(hooks, name).__doc__),
            fenced(signature(name, getattr(hooks, name))),
            f"Each component that it gives is built as `Class(config, context)` and keeps the "
            f"contract of a [{words(kind)}](#{anchor(words(kind))}).",
        ]
    parts += ["### `ctfw_recipe_dirs`", *_hook("ctfw_recipe_dirs"), "## Events"]
    for name in hooks.EVENTS:
        parts += [f"### `{name}`", *_hook(name)]
    parts += ["## The declaration", prose(Component.__doc__), "## Contracts"]
    parts.append(prose(contracts.__doc__))
    for kind, protocol in PROTOCOLS.items():
        parts += [f"### {words(kind)}", *_protocol(protocol)]
        for title, optional in OPTIONAL.get(kind, {}).items():
            parts += [f"### {title}", *_protocol(optional)]
    return "\n\n".join(parts)


def _hook(name: str) -> list[str]:
    hook = getattr(hooks, name)
    return [prose(hook.__doc__), fenced(signature(name, hook))]


def _protocol(protocol: type) -> Iterator[str]:
    yield prose(protocol.__doc__)
    attributes = [f"`{n}: {t}`" for n, t in protocol.__annotations__.items()]
    if attributes:
        yield "Attributes: " + ", ".join(attributes)
    for name, member in vars(protocol).items():
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(member, property):
            yield fenced(f"{name}  # property") + f"\n\n{prose(member.fget.__doc__)}"
        elif inspect.isfunction(member):
            yield fenced(signature(name, member)) + f"\n\n{prose(member.__doc__)}"


# Components


def components_page() -> str:
    catalog = load_plugins(only="none").catalog
    parts = [
        "# Components",
        "Every built-in component with its settings. `use: NAME` in a recipe chooses one; "
        "`ctfw plugins NAME` prints the same table, for components of other plugins too.",
        MACHINE,
    ]
    for kind in PROTOCOLS:
        parts.append(f"## {words(kind)}")
        for component in catalog.all(kind):
            parts += _component(component)
    return "\n\n".join(parts)


def _component(component: Component) -> Iterator[str]:
    yield f"### `{component.name}`"
    yield f"*{component.summary}*"
    facts = []
    if component.needs:
        facts.append("Needs " + ", ".join(f"`{need}`" for need in component.needs) + ".")
    if component.gives:
        facts.append("Later stages may refer to its " + " and ".join(component.gives) + ".")
    if facts:
        yield " ".join(facts)
    yield settings_table(component.config)
    for name, field in component.config.model_fields.items():
        options = nested_models(field.annotation)
        for inner in options:
            if inner in (settings.Training, settings.Generation):
                yield f"`{name}` holds the settings of [{name}](recipe.md#{name})."
                continue
            kind = f" with `use: {choices(inner)[0]}`" if len(options) > 1 else ""
            yield f"Settings of `{name}`{kind}:"
            yield settings_table(inner)


# Recipe

BLOCKS = {
    "data": "the data set: a [dataset](components.md#dataset) block",
    "backbone": "the model: a [backbone](components.md#backbone) block",
    "labeler": "reads findings off a text: a [labeler](components.md#labeler) block",
    "training": "how a stage optimises: [training](#training)",
    "generation": "how reports are written: [generation](#generation)",
    "metrics": "what is scored: a list of [metric](components.md#metric) blocks",
    "stages": "the steps by name, each a [stage](components.md#stage) block",
    "matrix": "a grid of axes, or a list of grids, for `ctfw sweep`",
}


def recipe_page() -> str:
    parts = [
        "# Recipes",
        "A recipe is a YAML file that says what method is run. A profile is a YAML file of the "
        "same form that says where and at what scale.",
        "## Top level",
        _top_level(),
        "`data`, `backbone`, `labeler`, `training`, `generation` and `metrics` usually come from "
        "the profile. A stage that has a setting `training`, `generation`, `metrics` or "
        "`labeler` starts from the block of that name; what the stage says is merged over it.",
        "## Layers",
        "Lowest first: the profile, the recipe that `extends` names, the recipe itself, the "
        "choices of a variant of `matrix`, and `--set KEY=VALUE`.",
        body(merge),
        "`name` and `summary` are not inherited. A stage of a profile without `use` changes the "
        "stage of that name, and is dropped where the recipe has none; one with `use` is added "
        "when another stage refers to it.",
        "## YAML",
        body(load),
        "Keys are not repeated; aliases, merge keys and tags are refused. `${env:NAME}` in a text "
        "is replaced by an environment variable; nothing else is. Unknown keys are errors. All "
        "faults of all layers are printed together as `file:line:column: message (hint)`, before "
        "anything heavy is imported and before anything is written.",
        "## References and order",
        "A stage runs after those that it refers to; among those that could run, the first "
        "written one goes first. The order in the file does not matter otherwise.",
        "`tune/best` is the checkpoint with the best validation of stage `tune`; `tune/last` is "
        "its last one, and `tune` alone means `tune/best`. A reference may also be a folder with "
        "a checkpoint: it starts with `./`, `../`, `/` or `~`.",
        "## Matrix",
        body(matrix),
        "## Components",
        "`use: heter` is the built-in of that name, or the only plugin that has one. "
        "`use: PROVIDER/heter` is the one of a distribution, `use: heter@2` asks for a revision. "
        "A recipe never names Python code.",
    ]
    parts += ["## Shared blocks", MACHINE]
    for title, model in (("training", settings.Training), ("generation", settings.Generation)):
        parts += [f"### {title}", prose(model.__doc__), settings_table(model)]
    return "\n\n".join(parts)


def _top_level() -> str:
    rows = ["| field | default | what it is |", "|---|---|---|"]
    for name in TOP_LEVEL:
        field = Header.model_fields.get(name)
        text = BLOCKS[name] if field is None else field.description or ""
        rows.append(f"| `{name}` | {default_of(field) if field else ''} | {escape(text)} |")
    return "\n".join(rows)


# Command line


def cli_page() -> str:
    parts = [
        "# Command line",
        prose(app.registered_callback.callback.__doc__ if app.registered_callback else ""),
        "Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 something you can "
        "mend, 1 a crash (`CTFW_TRACEBACK=1` shows where).",
        "`ctfw --version` prints the version; `ctfw --help` lists the verbs; every verb has "
        "`--help`. `ctfw --install-completion` lets your shell complete verbs and options.",
    ]
    panel = ""
    for name, verb in VERBS.items():
        if verb.panel != panel:
            panel = verb.panel
            parts.append(f"## {panel}")
        parts += _verb(name, command_of(name))
    parts += ["## Environment", _environment()]
    return "\n\n".join(parts)


def _verb(name: str, command: Any) -> Iterator[str]:
    for inner, sub in getattr(command, "commands", {}).items():
        yield from _verb(f"{name} {inner}", sub)
    if hasattr(command, "commands"):
        return
    yield f"### `ctfw {name}`"
    yield prose(command.help)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(_usage(p) for p in arguments)
    yield fenced(f"ctfw {name} {usage}".rstrip() + " [OPTIONS]", "text")
    rows = ["| argument or option | default | what it is |", "|---|---|---|"]
    for parameter in command.params:
        rows.append("| " + " | ".join(escape(cell) for cell in _parameter(parameter)) + " |")
    yield "\n".join(rows)


def _usage(parameter: Any) -> str:
    text = (parameter.metavar or parameter.name.upper()).strip("[]")
    text += "..." if parameter.nargs == -1 else ""
    return text if parameter.required else f"[{text}]"


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        name = f"`{(parameter.metavar or parameter.name.upper()).strip('[]')}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
        name = f"`{', '.join(parameter.opts)}{value}`"
    default = parameter.default
    hidden = default is None or parameter.required or getattr(parameter, "is_flag", False)
    return name, "" if hidden else f"`{default}`", parameter.help or ""


def _environment() -> str:
    names = {
        "CTFW_PLUGINS": "limits the third parties that are loaded: a comma list of distributions, "
        "or `none`",
        "CTFW_CACHE": "folder for what can be made again: phantoms, preprocessed volumes",
        "CTFW_TRACEBACK": "set it to see where a crash happened",
    }
    rows = ["| variable | what it does |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {text} |" for name, text in names.items())])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
