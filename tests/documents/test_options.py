"""Every command, option, setting, link and design question that a page names exists."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pages import DOCS, PAGES, REPOSITORY, blocks, inline_code, name_of, prose
from typer.main import get_command

from simcrop.cli.main import app
from simcrop.config import override
from simcrop.config.section import Section
from simcrop.recipes import RECIPES
from simcrop.recipes.segmentation import SEGMENTATION_RECIPES

ROOT = get_command(app).commands
COMMANDS = ROOT | {
    f"{group} {name}": command
    for group, root in ROOT.items()
    for name, command in getattr(root, "commands", {}).items()
}
TREES = (RECIPES["paper"], SEGMENTATION_RECIPES["segment"])
SECTIONS = {name for tree in TREES for name, value in tree if isinstance(value, Section)}


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every line that calls `simcrop`, in blocks and in prose."""
    code = [block.text for block in blocks(page) if block.language in {"bash", "console"}]
    for text in [*code, *inline_code(page)]:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while "simcrop" in words:  # behind `time`, `&&` and the like
                words = words[words.index("simcrop") + 1 :]
                stop = [i for i, word in enumerate(words) if re.fullmatch(r"[|&;>]+", word)]
                yield words[: stop[0]] if stop else words


def options_of(command: str) -> set[str]:
    options = {"--help", "--version"}
    for parameter in COMMANDS[command].params if command else []:
        options.update(parameter.opts, parameter.secondary_opts)
    return options


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    for words in command_lines(page):
        pairs = [" ".join(pair) for pair in pairwise(words)]
        names = [word for word in [*pairs, *words] if word in COMMANDS][:1] or [""]
        known = bool(names[0]) or not words or words[0].startswith(("-", "C"))
        assert known, f"no command: simcrop {' '.join(words)}"
        unknown = {w for w in words if re.match(r"--?[a-zA-Z]", w)} - options_of(names[0])
        assert not unknown, f"simcrop {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_named_alone_belong_to_a_command(page):
    known = set().union(*map(options_of, COMMANDS))
    named = [code.split()[0].split("=")[0] for code in inline_code(page) if code.startswith("--")]
    assert set(named) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_exist_and_their_values_are_possible(page):
    for words in command_lines(page):
        settings = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set"]
        tree = TREES["segment" in words or any("segment_" in word for word in words)]
        override(tree, [setting for setting in settings if "=value" not in setting])
    named = re.compile(rf"({'|'.join(SECTIONS)})\.[a-z_]+(=.*)?")
    for code in filter(named.fullmatch, inline_code(page)):
        path, equals, _ = code.partition("=")
        section, field = path.split(".")
        owners = [
            tree for tree in TREES
            if field in getattr(type(getattr(tree, section, None)), "model_fields", {})
        ]  # fmt: skip
        assert owners, path
        for tree in owners[-1:] if equals else []:
            override(tree, [code])


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_the_index_lists_every_page():
    links = re.findall(r"\]\(([^)#\s]+)\)", (DOCS / "README.md").read_text())
    listed = {(DOCS / link).resolve() for link in links}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - listed == {DOCS / "README.md"}


def test_design_questions_and_defects_that_the_code_cites_are_on_the_method_page():
    method = (DOCS / "explanation" / "method.md").read_text()
    defined = set(re.findall(r"\b(?:D-\d+|18\.\d+)\b", method))
    source = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("*.py"))
    cited = set(re.findall(r"\b(?:D-\d+|18\.\d+)\b", source + "".join(map(prose, PAGES))))
    assert len(cited) > 10
    assert cited - defined == set()
