"""What the pages show is true: links lead somewhere, recipes are valid, commands exist."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ctfw
from ctfw import hooks
from ctfw.cli import VERBS, command_of
from ctfw.plugins import load_plugins
from ctfw.recipe import expand
from ctfw.recipe.load import parse
from ctfw.registry import words
from ctfw.testing import assert_component

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<to>[^)\s]+)\)|<img[^>]*src=\"(?P<image>[^\"]+)\"")
PICTURE = re.compile(r"!\[[^\]]*\]\((?P<to>[^)\s]+)\)")
COMMAND = re.compile(r"(?:^|\s)(?:\$ )?(?:[A-Z_]+=\S* )*(?:\S*/)?ctfw (?P<rest>[^\n#|>]*)")
SHELL = ("sh", "bash", "console", "")


class AnyVariable(dict[str, str]):
    """An environment in which every variable is set to its own name."""

    def get(self, key: str, default: object = None) -> str:
        return key


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its info string and its text."""

    place: str
    info: str
    text: str

    def __str__(self) -> str:
        return self.place


def page_files() -> list[Path]:
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*files, *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*/*.md"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """Fenced blocks of all pages whose info string starts with one of these words."""
    found = []
    for path in page_files():
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if match["info"].strip().partition(" ")[0] in languages:
                found.append(Block(f"{name(path)}:{line}", match["info"].strip(), match["code"]))
    return found


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", page_files(), ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = [m["to"] or m["image"] for m in LINK.finditer(prose(path))]
    targets += [m["to"] for m in PICTURE.finditer(prose(path))]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name(path)} links to {target}, which is not there"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{name(path)}: {name(there)} has no #{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    seen, waiting = set(), [index]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        for match in LINK.finditer(prose(page)):
            target = (page.parent / (match["to"] or "").partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                waiting.append(target)
    assert set((ROOT / "docs").rglob("*.md")) - seen == set()


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if b.info == "yaml"], ids=str)
def test_recipes_of_the_pages_are_valid(block: Block, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(block.text, encoding="utf-8")
    assert expand(recipe, plugins=load_plugins(only="none"), environ=AnyVariable())


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if b.info != "yaml"], ids=str)
def test_other_yaml_is_marked_as_fragment_and_can_be_read(block: Block) -> None:
    assert block.info == "yaml fragment"
    assert parse(block.text, str(block)).is_mapping


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_of_the_pages_compiles(block: Block) -> None:
    text = block.text
    if re.fullmatch(r"(def .*|\w+  # property)\n", text):
        text = text.rstrip() + ": ...\n" if text.startswith("def") else text
    compile(text, str(block), "exec")


def shown_commands() -> Iterator[tuple[str, str, bool]]:
    """(place, what follows `ctfw`, whether it stands in a block) of every command shown."""
    for block in blocks(*SHELL):
        for line in block.text.splitlines():
            for match in COMMAND.finditer(line):
                yield block.place, match["rest"].strip(), True
    for path in page_files():
        for code in re.findall(r"`([^`\n]+)`", prose(path)):
            if match := re.match(r"ctfw (.+)", code):
                yield name(path), match[1].strip(), False


def parses(text: str, whole: bool) -> None:
    """Raises what the command line would; runs nothing."""
    words = shlex.split(text)
    if words[0].startswith("-"):
        assert words in (["--help"], ["--version"], ["--install-completion"])
        return
    assert words[0] in VERBS, f"no verb {words[0]!r}"
    command: Any = command_of(words[0])
    arguments = words[1:]
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    if hasattr(command, "commands"):
        assert not whole, f"ctfw {text}: says no command"
        return
    if arguments or whole:
        make: Callable[..., Any] = command.make_context
        make(words[0], arguments)


@pytest.mark.parametrize(
    ("place", "text", "whole"), [pytest.param(*c, id=f"{c[0]} {c[1]}") for c in shown_commands()]
)
def test_commands_of_the_pages_exist(place: str, text: str, whole: bool) -> None:
    try:
        parses(text, whole)
    except Exception as error:
        pytest.fail(f"{place}: ctfw {text}: {error}")


def test_a_command_with_a_wrong_option_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parses("run recipe.yaml --bogus", whole=True)
    with pytest.raises(AssertionError, match="no verb"):
        parses("train recipe.yaml", whole=True)


def test_pages_hold_no_path_of_a_machine() -> None:
    homes = "|".join(("home", "root", "work", "Users", "tmp"))
    for path in page_files():
        found = re.findall(rf"(?<![\w.*])/(?:{homes})/\S*", path.read_text("utf-8"))
        assert found == [], name(path)


def test_plugin_of_the_readme_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = next(b for b in blocks("python") if b.text.startswith("# ctfw_upside_down.py"))
    lines = [line for line in block.text.splitlines()[1:] if line.strip()]
    assert len(lines) <= 15
    (tmp_path / "ctfw_upside_down.py").write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the kit imports it in another process
    plugin = importlib.import_module("ctfw_upside_down")
    catalog = load_plugins(discover=False, extra={"upside-down": plugin}).catalog
    assert_component("negative_sampler", catalog.get("negative_sampler", "upside-down"))


def test_pyproject_of_the_readme_declares_its_plugin() -> None:
    (block,) = [b for b in blocks("toml") if b.place.startswith("README.md")]
    assert len(block.text.splitlines()) <= 8
    project = tomllib.loads(block.text)["project"]
    assert project["entry-points"][hooks.GROUP] == {"upside-down": "ctfw_upside_down"}
    assert {"name", "version"} <= set(project)


@pytest.mark.parametrize("path", page_files(), ids=name)
def test_no_placeholder_is_left_in_a_page(path: Path) -> None:
    comments = re.findall(r"<!--.*?-->", prose(path), re.DOTALL)
    assert [text for text in comments if not text.startswith("<!-- Made by ")] == []


def test_table_of_the_readme_names_every_component() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## What is in the box")[2]
    for component in load_plugins(only="none").catalog.all():
        row = re.search(rf"^\| {words(component.kind)} \|.*$", table, re.MULTILINE)
        assert row, component.kind
        assert f"`{component.name}`" in row[0]


def test_citation_is_of_this_version() -> None:
    facts = parse((ROOT / "CITATION.cff").read_text("utf-8"), "CITATION.cff").plain()
    required = {"cff-version", "message", "title", "authors"}  # of the schema, version 1.2.0
    assert required <= set(facts)
    assert facts["cff-version"] == "1.2.0"
    assert facts["version"] == ctfw.__version__
