# ruff: noqa: INP001, T201 - a script beside the package, which prints
"""Pin the images of the composition and of the image builds by digest, as the registries give them now.

    python .ci/pin_images.py compose/compose.yaml compose/Dockerfile

`name:tag` becomes `name:tag@sha256:...`, an older digest the one of today; images of our own (`:local`) and stages of a
Dockerfile stay. It asks `docker buildx imagetools`; where one image cannot be asked for, nothing is changed.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

_IMAGE = re.compile(
    r"^(?P<before>\s*image:\s+|FROM\s+)(?P<image>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?", re.MULTILINE
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATIENCE_SECONDS = 60.0


def main() -> int:
    """Pin; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+")
    texts = {path: path.read_text(encoding="utf-8") for path in parser.parse_args().files}
    images = sorted({found["image"] for text in texts.values() for found in _IMAGE.finditer(text)})
    digests = {image: digest(image) for image in images if not image.endswith(":local")}
    unknown = [image for image, found in digests.items() if found is None]
    if unknown:
        print(f"not pinned, nothing is changed: no digest of {', '.join(unknown)}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(_IMAGE.sub(lambda found: pinned(found, digests), text), encoding="utf-8")
    for image, found in digests.items():
        print(f"{image}@{found}")
    return 0


def pinned(found: "re.Match[str]", digests: dict[str, str | None]) -> str:
    """Give a line's image with its digest."""
    image = found["image"]
    return f"{found['before']}{image}@{digests[image]}" if image in digests else found[0]


def digest(image: str) -> str | None:
    """Ask for the digest of all platforms of an image; None, with docker's words, where there is no answer."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{image}: {error}", file=sys.stderr)
        return None
    if said.returncode or not _DIGEST.fullmatch(said.stdout.strip()):
        print(f"{image}: {(said.stderr or said.stdout).strip()}", file=sys.stderr)
        return None
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
