"""README and docs as lists of code blocks; which of them are run, and how.

A block below the comment `<!-- run -->` is run. The blocks of a page run in order in one empty
folder, with `simcrop` on the path. A page that says `<!-- after: tutorial/x.md -->` starts with
what that page left behind. A block without a language that follows a run block shows what it
prints: every line must appear, up to a "..." where the rest of the line is left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_BLOCK = re.compile(
    r"^(?P<run><!-- run -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is where it starts."""

    language: str
    text: str
    is_run: bool
    line: int


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"], match["text"], bool(match["run"]), text.count("\n", 0, match.start())
        )
        for match in _BLOCK.finditer(text)
    ]


def page_before(page: Path) -> Path | None:
    """The page that must have run in the folder before this one."""
    named = _AFTER.search(page.read_text(encoding="utf-8"))
    return DOCS / named[1] if named else None


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose(page))
