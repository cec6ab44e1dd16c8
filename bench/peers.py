"""Environments of their own for what is measured beside us and asks for other versions than ours.

quix: Quix Streams, an older confluent-kafka. search: usearch and ScaNN, whose wheels TensorFlow's cannot stand beside.
"""

import subprocess
import sys
from pathlib import Path
from typing import Literal

from bench.commands import ROOT
from schemas.errors import InsessionError


def peer_python(name: Literal["quix", "search"], cache: Path) -> Path:
    """Return the Python that has requirements/<name>.txt; make its environment in `cache` where there is none.

    Raises InsessionError where the packages cannot be had.
    """
    environment = cache.resolve() / name
    python, ready = environment / "bin" / "python", environment / ".ready"
    if not ready.exists():
        requirements = ROOT / "requirements" / f"{name}.txt"
        try:
            uv = subprocess.run(
                [ROOT / ".ci" / "find-uv", sys.executable], check=True, capture_output=True, text=True
            ).stdout.strip()
            for arguments in (
                ("venv", "--quiet", "--clear", "--python", sys.executable, environment),
                ("pip", "sync", "--quiet", "--python", python, "--require-hashes", requirements),
            ):
                subprocess.run([uv, *arguments], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None) or str(error)
            raise InsessionError(f"what requirements/{name}.txt lists cannot be installed: {told.strip()}") from error
        ready.touch()
    return python
