import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from schemas.errors import InsessionError, UsageError
from session_model.data import compressed_files
from session_model.data.compressed_files import compression_of, opened

TEXT = b"".join(b"%d %d\n" % (number, number * 7919) for number in range(5000))
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compression_is_found_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    """Whatever the file is called, and in several frames, as parallel compressors write them."""
    path = tmp_path / "plain.txt"
    path.write_bytes(COMPRESSIONS[name](TEXT[:1000]) + COMPRESSIONS[name](TEXT[1000:]))
    assert compression_of(path.read_bytes()) == name
    with opened(path) as stream:
        assert stream.read() == TEXT


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: data[:40] + b"\x55" * 40 + data[80:]])
def test_damage_is_one_message(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    """A cut or overwritten file is told as such, not by the library's own error."""
    path = tmp_path / "a"
    path.write_bytes(damage(COMPRESSIONS[name](TEXT)))
    with pytest.raises(InsessionError, match=f"the {name} data is damaged"), opened(path) as stream:
        stream.read()


def test_without_the_library_zstd_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare worker has none."""
    monkeypatch.setattr(compressed_files, "_HAS_ZSTD", False)
    path = tmp_path / "a.zst"
    path.write_bytes(zstd.compress(TEXT))
    with pytest.raises(UsageError, match=r"insession\[model\]"), opened(path):
        pass


@pytest.mark.parametrize("text", [b"BZhello", b"BZh9 a b\n", b"a b\n", b""])
def test_text_is_plain(text: bytes) -> None:
    """No item id looks like a compression."""
    assert compression_of(text) is None
