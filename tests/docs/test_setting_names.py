"""Whoever names a setting, in a document or in a message, names one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.configuration.keys import Section, section_of
from agents.package_guard import PACKAGES
from agents.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("*.md", "docs/**/*.md", "docs/*.json", "compose/**/*.y*ml", "compose/**/*.toml")
FILE_SUFFIXES = {"css", "html", "js", "jsonl", "md", "parquet", "py", "txt"}
OTHERS = {
    "kafka.tools": "a Java package of Kafka",
    "security.protocol": "a property of librdkafka",
}
"""What reads like a setting and is none."""


def sections(root: Section) -> Iterator[Section]:
    """Yield a section and all in it."""
    yield root
    for section in root.sections:
        yield from sections(section)


ALL = list(sections(section_of(Settings)))
KEYS = {".".join(key.path): key for section in ALL for key in section.keys}
NAMES = {".".join(section.path) for section in ALL} | set(KEYS)
NAMED = re.compile(
    rf"(?<![\w./-])((?:{'|'.join(s.path[0] for s in ALL[0].sections)})\.[a-z_][a-z_.]*[a-z_])(?![\w(/-])"
)


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every document, and every string of the code."""
    for pattern in DOCUMENTS:
        yield from ((path, path.read_text()) for path in ROOT.glob(pattern) if ".venv" not in path.parts)
    for path in (path for package in (*PACKAGES, "compose") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def is_known(name: str) -> bool:
    """Return whether it is a setting, a key within one, a module or a file."""
    module = ROOT.joinpath(*name.split("."))
    if name in NAMES or name in OTHERS or name.rpartition(".")[2] in FILE_SUFFIXES:
        return True
    return name.rpartition(".")[0] in KEYS or module.exists() or module.with_suffix(".py").exists()


def test_every_setting_that_is_named_exists() -> None:
    """A message that names another one sends its reader to nothing."""
    unknown = {(str(path.relative_to(ROOT)), name) for path, text in texts() for name in NAMED.findall(text)}
    assert sorted((path, name) for path, name in unknown if not is_known(name)) == []


@pytest.mark.parametrize("name", ["clickstream.event_source", "topics.partition", "kafka.security.pasword"])
def test_a_wrong_name_is_noticed(name: str) -> None:
    """Beside right ones."""
    assert NAMED.findall(f"set `{name}`, kafka.brokers") == [name, "kafka.brokers"]
    assert is_known("kafka.brokers")
    assert not is_known(name)
