"""What an upgrade of Faust, mode or aiokafka takes away is found here."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import agents.clicks
import agents.worker
import streams
from streams.faust_internals import INTERNALS

ROOT = Path(__file__).parents[2]
PUBLIC = re.compile(r"_[A-Z_]+|_exit|_replace|_fields")
"""Constants of confluent-kafka, and names of the standard library that are public for all their underscore."""
NAMES = [(owner, name) for owner, names in INTERNALS.items() for name in names]


def foreign(bases: Iterable[type]) -> list[type]:
    """Keep the classes of the three."""
    return [base for base in bases if base.__module__.partition(".")[0] in {"faust", "mode", "aiokafka"}]


def own_modules() -> Iterator[Any]:
    """Import all that may reach into Faust."""
    for package in (streams, agents.clicks, agents.worker):
        for found in walk_packages(package.__path__, package.__name__ + "."):
            yield import_module(found.name)


@pytest.mark.parametrize(("owner", "name"), NAMES)
def test_every_name_is_there(owner: str, name: str) -> None:
    """On the class, or set by it on itself."""
    module, _, cls = owner.partition(":")
    found = getattr(import_module(module), cls)
    sources = "\n".join(inspect.getsource(import_module(base.__module__)) for base in foreign(found.__mro__))
    assert hasattr(found, name) or re.search(rf"^\s+self\.{name}\b.*=|^    {name}:", sources, flags=re.MULTILINE)


def test_no_private_name_is_overridden_that_is_not_in_the_table() -> None:
    """Each could be renamed under us, and our method would never be called."""
    overridden = set()
    for module in own_modules():
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != module.__name__:
                continue
            bases = [
                base for base in cls.__mro__[1:] if base.__module__.partition(".")[0] in {"faust", "mode", "aiokafka"}
            ]
            private = [name for name in vars(cls) if re.match(r"_(?!_|abc_impl)", name)]
            overridden |= {name for name in private if any(name in vars(base) for base in bases)}
    assert overridden <= {name for _, name in NAMES}
    assert "_new_offset" in {name for _, name in NAMES}


def test_no_private_name_is_used_that_is_not_in_the_table() -> None:
    """Whether by a dot or through `attrgetter`; a name that we have ourselves, too, is not told apart."""
    trees = [ast.parse(path.read_text()) for room in ("streams", "agents") for path in (ROOT / room).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    ours = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    ours |= {node.id for node in nodes if isinstance(node, ast.Name)}
    ours |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "attrgetter":
            used |= {
                part for path in node.args if isinstance(path, ast.Constant) for part in str(path.value).split(".")
            }
    private = {name for name in used - ours if re.match(r"_(?!_)", name) and not PUBLIC.fullmatch(name)}
    assert private
    assert private <= {name for _, name in NAMES}
