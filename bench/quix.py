"""The environment of Quix Streams: it asks for an older confluent-kafka than ours, so it has one of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.commands import ROOT
from schemas.errors import InsessionError

REQUIREMENTS: Final = ROOT / "requirements" / "quix.txt"


def quix_python(cache: Path) -> Path:
    """Return the Python that has Quix Streams; make its environment in `cache` where there is none.

    Raises InsessionError where the packages cannot be had.
    """
    environment = cache.resolve() / "quix"
    python, ready = environment / "bin" / "python", environment / ".ready"
    if not ready.exists():
        try:
            uv = subprocess.run(
                [ROOT / ".ci" / "find-uv", sys.executable], check=True, capture_output=True, text=True
            ).stdout.strip()
            for arguments in (
                ("venv", "--quiet", "--clear", "--python", sys.executable, environment),
                ("pip", "sync", "--quiet", "--python", python, "--require-hashes", REQUIREMENTS),
            ):
                subprocess.run([uv, *arguments], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None) or str(error)
            raise InsessionError(f"Quix Streams cannot be installed: {told.strip()}") from error
        ready.touch()
    return python
