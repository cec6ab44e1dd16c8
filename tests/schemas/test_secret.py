import msgspec
import pytest

from schemas.errors import InsessionError
from schemas.secret import MASK, Secret, masked

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:hunter2@host:1/p", f"https://{MASK}@host:1/p"),
        ("https://hunter2@host/p", f"https://{MASK}@host/p"),
        ("u:hunter2@kafka:9092,kafka-2:9092", f"{MASK}@kafka:9092,kafka-2:9092"),
        ("'http://u:hun/ter2@host' is no URL", f"'http://{MASK}@host' is no URL"),
        ("GET https://host/token?api_key=hunter2&x=1", f"GET https://host/token?api_key={MASK}&x=1"),
        ("https://host:8081/a?b=c", "https://host:8081/a?b=c"),
        ("kafka-1:9092, mail a@b.c", "kafka-1:9092, mail a@b.c"),
        ("no models:/session_gru@champion", "no models:/session_gru@champion"),
    ],
)
def test_secrets_in_addresses_are_masked(text: str, shown: str) -> None:
    """Users and keys go, what tells one address from another stays; an error's text is no way around."""
    assert masked(text) == shown
    assert "ter2" not in str(InsessionError(text))


def test_masking_takes_no_time_to_speak_of() -> None:
    """A long text without an address is looked at once, not once for each of its characters."""
    text = "a" * 200_000 + "@"
    assert masked(text) == text
