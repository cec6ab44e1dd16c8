"""URLs of the Bus."""

from pathlib import Path

import pytest

from schemas.bus import BusUrl, FolderUrl, MemoryUrl, S3Url, parse_bus_url
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("models", FolderUrl(Path("models"))),
        ("/mnt/models/", FolderUrl(Path("/mnt/models"))),
        ("file:models", FolderUrl(Path("models"))),
        ("file:///mnt/a%20b", FolderUrl(Path("/mnt/a b"))),
        ("s3://bucket", S3Url("bucket", "")),
        ("s3://bucket/a/b/", S3Url("bucket", "a/b")),
        ("memory:one", MemoryUrl("one")),
    ],
)
def test_one_form_names_all_places(text: str, url: BusUrl) -> None:
    """A plain path is a folder of this machine."""
    assert parse_bus_url(text) == url
    assert parse_bus_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    ["", "file:", "file://host/models", "s3://", "s3:///a", "s3://key:pass@bucket/a", "s3://b/../c", "ftp://a/b"],
)
def test_what_names_no_place_is_wrong_usage(text: str) -> None:
    """With the forms that there are."""
    with pytest.raises(UsageError):
        parse_bus_url(text)


def test_what_is_secret_in_a_wrong_address_is_masked() -> None:
    """It may be in a log for long."""
    with pytest.raises(UsageError) as raised:
        parse_bus_url("s3://AKIAEXAMPLE:hidden@bucket/a")
    assert "hidden" not in str(raised.value)
