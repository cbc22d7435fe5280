"""The command line: a table of verbs, each in a module of its own that is imported when used.

Data goes to stdout, talk to stderr. Exit codes: 0 done, 2 something the user can mend, 1 a crash.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import ctfw


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: where its function (or typer app) is, its line in the help, its panel."""

    target: str
    help: str
    panel: str


# The one place where a verb is registered. A target is imported when its verb is used; what it
# imports in turn must be light, or stand inside its function.
RUNS, SCANS, RECIPES, PLUGINS = "Runs", "Scans and scores", "Recipes", "Plugins"
VERBS: dict[str, Verb] = {
    "run": Verb("ctfw.cli.run:run", "Run a recipe, from data to report page.", RUNS),
    "resume": Verb("ctfw.cli.run:resume", "Go on with a run that was stopped.", RUNS),
    "sweep": Verb("ctfw.cli.sweep:sweep", "Run every variant of a recipe's matrix.", RUNS),
    "compare": Verb("ctfw.cli.compare:compare", "Compare runs and other systems.", RUNS),
    "prepare": Verb("ctfw.cli.prepare:prepare", "Preprocess every scan of a recipe.", SCANS),
    "inspect": Verb("ctfw.cli.inspect:inspect", "Show what the model sees of a scan.", SCANS),
    "generate": Verb("ctfw.cli.generate:generate", "Write the report of a scan.", SCANS),
    "export": Verb("ctfw.cli.export:export", "Write a model that other tools load.", SCANS),
    "score": Verb("ctfw.cli.score:score", "Score a run or anyone's predictions.", SCANS),
    "audit": Verb("ctfw.cli.audit:audit", "Measure how much a model uses its image.", SCANS),
    "validate": Verb("ctfw.cli.validate:validate", "Check recipes without running them.", RECIPES),
    "doctor": Verb("ctfw.cli.doctor:doctor", "Look for trouble before a run.", RECIPES),
    "show": Verb("ctfw.cli.show:show", "Print a recipe or a run with every default.", RECIPES),
    "recipes": Verb("ctfw.cli.recipes:recipes", "List shipped recipes, or copy one.", RECIPES),
    "schema": Verb("ctfw.cli.schema:schema", "Write the JSON Schema of recipes.", RECIPES),
    "plugins": Verb("ctfw.cli.plugins_verb:plugins", "List plugins and components.", PLUGINS),
    "new": Verb("ctfw.cli.new:app", "Start a plugin of your own.", PLUGINS),
}

LISTING = "ctfw.listing"


class LazyVerbs(TyperGroup):
    """A group whose commands are imported when they are called, not when they are listed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, verb in VERBS.items():  # for the help and for suggestions only
            self.add_command(TyperCommand(name, help=verb.help, rich_help_panel=verb.panel))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS or ctx.meta.get(LISTING):
            return self.commands.get(cmd_name)
        return command_of(cmd_name)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        ctx.meta[LISTING] = True
        return super().shell_complete(ctx, incomplete)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta[LISTING] = True
        super().format_help(ctx, formatter)


def command_of(name: str) -> Any:
    """The command of a verb; imports its module."""
    module, _, attribute = VERBS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(name)(target)
        target = single
    return typer.main.get_command(target)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ctfw {ctfw.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyVerbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train chest-CT report generators that look at the scan, and prove that they do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does. Python would complain once more when
        # it flushes at exit, so stdout is pointed at nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: Sequence[str] | None) -> int:
    from ctfw.errors import UserError

    try:
        app(None if arguments is None else list(arguments), prog_name="ctfw")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BrokenPipeError:
        raise
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None or error.errno not in _MENDABLE:
            return _crash(error)
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Exception as error:
        return _crash(error)
    return 0


_MENDABLE = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST,
)  # fmt: skip


def _crash(error: Exception) -> int:
    if os.environ.get("CTFW_TRACEBACK"):
        raise error
    text = f"ctfw crashed: {type(error).__name__}: {error}"
    print(text, "Set CTFW_TRACEBACK=1 to see where.", sep="\n", file=sys.stderr)
    return 1
