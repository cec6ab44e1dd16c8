"""Signatures of releases."""

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.release_signature import is_signed, read_key, signature_of
from schemas.secret import Secret

KEY = Secret("k" * 32)


def test_a_signature_is_of_one_manifest_and_one_key() -> None:
    """Another of either does not fit."""
    signature = signature_of(b"{}", KEY)
    assert is_signed(b"{}", signature + b"\n", KEY)
    assert not is_signed(b"{ }", signature, KEY)
    assert not is_signed(b"{}", signature, Secret("l" * 32))
    assert not is_signed(b"{}", b"", KEY)
    assert not is_signed(b"{}", b"\xff", KEY)


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    """Without the line's end."""
    (tmp_path / "key").write_text("k" * 32 + "\n")
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_file_without_a_key_is_wrong_usage(tmp_path: Path, content: bytes) -> None:
    """The message has the command that makes one, and not the key."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match="openssl rand -hex 32") as caught:
        read_key(tmp_path / "key")
    assert "short" not in str(caught.value)
