"""The project's documents, read as GitHub reads them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
TERMINAL = "terminal"
"""Behind `sh` in a fence: the block goes on in a terminal of its own while the ones after it run."""


@dataclass(frozen=True)
class Block:
    """A block of code; `info` is what stands behind the opening fence, empty for an indented block."""

    document: Path
    line: int
    info: str
    text: str

    @property
    def is_shell(self) -> bool:
        """Return whether it is there to be run."""
        return self.info.partition(" ")[0] == "sh"

    @property
    def has_own_terminal(self) -> bool:
        """Return whether it goes on while the next blocks run."""
        return self.info == f"sh {TERMINAL}"

    @property
    def first_line(self) -> str:
        """The line by which a test names the block."""
        return self.text.strip().partition("\n")[0]

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or a picture."""

    document: Path
    target: str


@cache
def documents() -> tuple[Path, ...]:
    """Find all Markdown files that are part of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(ROOT / name for name in sorted(listed.stdout.splitlines()))


def blocks(document: Path) -> Iterator[Block]:
    """Find the blocks of code, in order."""
    for token in _tokens(document):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            yield Block(document, token.map[0] + 1, token.info.strip(), token.content)


def links(document: Path) -> Iterator[Link]:
    """Find the links and pictures."""
    for token in _tokens(document):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                yield Link(document, str(target))


def inline_code(document: Path) -> Iterator[str]:
    """Find the code within sentences and tables."""
    for token in _tokens(document):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return the anchors of the headings; a repeated one gets a number."""
    found: set[str] = set()
    tokens = _tokens(document)
    for opening, heading in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in heading.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            number = sum(1 for other in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
            found.add(f"{slug}-{number}" if number else slug)
    return frozenset(found)


@cache
def _tokens(document: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(document.read_text()))
