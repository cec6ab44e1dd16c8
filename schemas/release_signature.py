"""Who made a release: a keyed hash (HMAC-SHA256, RFC 2104) of its manifest, which in turn has a hash of every file."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from schemas.errors import UsageError
from schemas.secret import Secret
from schemas.servable import ASSETS

SIGNATURE_PATH: Final = f"{ASSETS}/manifest.hmac"
MIN_KEY_CHARACTERS: Final = 32
_CONTEXT: Final = b"insession release manifest\n"
"""So that a hash made for another purpose with the same key is no signature."""


def check_key(key: Secret, name: str) -> Secret:
    """Return the key back; raises UsageError where it could be guessed. `name`: where it was set."""
    if len(key.reveal()) < MIN_KEY_CHARACTERS:
        raise UsageError(f"{name} has less than {MIN_KEY_CHARACTERS} characters: openssl rand -hex 32")
    return key


def read_key(file: Path) -> Secret:
    """Read a key from its file, without the space around it; raises UsageError for a file that holds none."""
    try:
        return check_key(Secret(file.read_text().strip()), f"the key in {file}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the key in {file} cannot be read ({error}): openssl rand -hex 32 > {file}") from error


def signature_of(manifest: bytes, key: Secret) -> bytes:
    """Sign the bytes of a manifest; 64 hexadecimal digits."""
    return hmac.new(key.reveal().encode(), _CONTEXT + manifest, hashlib.sha256).hexdigest().encode()


def is_signed(manifest: bytes, signature: bytes, key: Secret) -> bool:
    """Return whether `signature` was made with `key`, in constant time."""
    return hmac.compare_digest(signature_of(manifest, key), signature.strip())
