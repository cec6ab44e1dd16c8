"""The compiled inner loops of ranking, for the tests that hold them to their twins in NumPy."""

import importlib
import os
from types import ModuleType

import pytest


def compiled(name: str) -> ModuleType:
    """Return a compiled kernel of `session_model.ranking`; skips where the install found no C compiler.

    Fails there instead where tools are required, as in CI.
    """
    path = f"session_model.ranking.{name}"
    if os.environ.get("INSESSION_REQUIRE_TOOLS"):
        return importlib.import_module(path)
    kernel: ModuleType = pytest.importorskip(path, reason="the install found no C compiler")
    return kernel
