# ruff: noqa: INP001 - a script beside the package
"""Check the installed wheel with its environment's interpreter: five packages, its own, compiled, no TensorFlow."""

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

PACKAGES = {"agents", "schemas", "serving", "session_model", "streams"}


def main() -> None:
    """Exit with a message at the first thing that is not as it should be."""
    for name in ("tensorflow", "sklearn"):
        if importlib.util.find_spec(name) is not None:
            sys.exit(f"{name} is installed beside the bare worker: requirements/worker.txt asks for too much.")
    files = importlib.metadata.files("insession") or []
    roots = {file.parts[0] for file in files if not file.parts[0].startswith(("insession-", ".."))}
    if roots != PACKAGES:
        sys.exit(f"The wheel holds {sorted(roots)} and should hold {sorted(PACKAGES)}.")
    owners = importlib.metadata.packages_distributions()
    site = Path(sys.prefix).resolve()
    for package in sorted(PACKAGES):
        origin = Path(importlib.import_module(package).__file__ or "").resolve()
        if owners[package] != ["insession"] or not origin.is_relative_to(site):
            sys.exit(f"{package} comes from {origin} and belongs to {owners[package]}, not to the wheel alone.")
    for kernel in ("item_search", "knn", "rerank", "top_k"):  # optional; here there is a compiler
        importlib.import_module(f"session_model.ranking.{kernel}_kernel")
    print(f"the wheel holds {', '.join(sorted(PACKAGES))}; the worker starts without TensorFlow")  # noqa: T201


if __name__ == "__main__":
    main()
