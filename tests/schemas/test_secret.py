import msgspec
import pytest

from schemas.secret import MASK, Secret

TEXT = "hunter-2-geheim"


def test_no_way_of_printing_shows_the_text() -> None:
    """Text, representation, formats and containers show the mask."""
    secret = Secret(TEXT)
    shown = f"{secret} {secret!r} {secret!s} %s %r {[secret]} { ({'password': secret}) }" % (secret, secret)
    assert TEXT not in shown
    assert MASK in shown


def test_the_text_is_behind_it() -> None:
    """`reveal` gives it back."""
    assert Secret(TEXT).reveal() == TEXT


def test_secrets_compare_by_their_text() -> None:
    """Equal texts are equal secrets with one hash; a text is no secret."""
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT


def test_no_encoder_writes_it() -> None:
    """JSON refuses what a secret is in."""
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": Secret(TEXT)})
