import pytest

from agents.live.access import Access, is_loopback
from schemas.secret import Secret

TOKEN = Secret("a-token-that-nobody-guesses")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - that is what is asked
        ("::", False),
        ("10.0.0.7", False),
        ("", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, *, expected: bool) -> None:
    """An address for everybody, or a name that only sounds like it, is none."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(("given", "expected"), [(TOKEN.reveal(), True), ("", False), ("a-token", False), ("ä", False)])
def test_the_token_opens_as_a_whole(given: str, *, expected: bool) -> None:
    """No part of it, and no text that is not ASCII, does."""
    assert Access("0.0.0.0", TOKEN).opens(given) is expected  # noqa: S104
    assert not Access("127.0.0.1", None).opens(given)


def test_the_cookie_follows_the_token() -> None:
    """Another token makes all cookies worthless."""
    access = Access("127.0.0.1", TOKEN)
    assert access.cookie_value(TOKEN) == access.cookie_value(TOKEN)
    assert access.cookie_value(TOKEN) != access.cookie_value(Secret("another-token-altogether"))
