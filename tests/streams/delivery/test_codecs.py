from types import ModuleType

import pytest
from aiokafka import codec

from streams.delivery.codecs import CODECS, CodecsError, require_codecs, unreadable_codecs


@pytest.fixture
def without_cramjam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let aiokafka find no package for what Python cannot decompress."""
    monkeypatch.setattr(codec, "cramjam", None)


def test_this_installation_reads_every_codec() -> None:
    """What the lock file brings is enough."""
    assert unreadable_codecs() == []
    require_codecs()


def test_a_missing_package_is_named(without_cramjam: None) -> None:  # noqa: ARG001
    """With what cannot be read and what to do."""
    assert unreadable_codecs() == ["snappy", "lz4", "zstd"]
    with pytest.raises(CodecsError, match=r"cannot read topics compressed with snappy, lz4, zstd: .*cramjam"):
        require_codecs()


def test_a_broken_package_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can be imported and decompresses nothing is as bad as none."""
    monkeypatch.setattr(codec, "cramjam", ModuleType("cramjam"))
    assert set(unreadable_codecs()) == CODECS.keys() - {"gzip"}
