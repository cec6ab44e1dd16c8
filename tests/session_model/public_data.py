"""Where the public research data sets lie; they are not part of the project."""

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FOLDER = Path(os.environ.get("INSESSION_DATA", _ROOT.parent / "shared" / "data"))


def public_file(name: str) -> Path:
    """Return a file of the data sets; skips the test where it is absent."""
    path = _FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is absent; INSESSION_DATA names the folder of the public research data sets")
    return path
