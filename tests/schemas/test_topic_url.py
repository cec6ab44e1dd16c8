import pytest

from schemas.errors import UsageError
from schemas.topic_url import AtOffsets, AtTime, parse_topic_url

NOON_MS = 1_769_860_800_000


def test_a_topic_is_read_whole_unless_the_url_says_otherwise() -> None:
    """Brokers and topic are what they are on the command line of Kafka's tools."""
    url = parse_topic_url("kafka://a:1,b:2/shop.session-ends")
    assert (url.brokers, url.topic, url.first, url.stop) == ("a:1,b:2", "shop.session-ends", "beginning", "end")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("beginning", "beginning"),
        ("end", "end"),
        ("12", AtOffsets({}, 12)),
        ("0:12,3:0", AtOffsets({0: 12, 3: 0}, None)),
        ("2026-01-31T12:00Z", AtTime(NOON_MS)),
        ("2026-01-31T12:00", AtTime(NOON_MS)),
        ("2026-01-31T13:00+01:00", AtTime(NOON_MS)),
        ("2026-01-31T13:00%2B01:00", AtTime(NOON_MS)),
        ("1960-01-01", AtTime(0)),
    ],
)
def test_both_ends_are_a_place_in_the_topic(text: str, place: object) -> None:
    """By name, by offsets or by time; a time without an offset is UTC."""
    assert parse_topic_url(f"kafka://a:1/t?from={text}").first == place
    assert parse_topic_url(f"kafka://a:1/t?to={text}").stop == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kafka://", "write kafka://HOST:PORT"),
        ("kafka://a:1", "write kafka://HOST:PORT"),
        ("kafka:///t", "write kafka://HOST:PORT"),
        ("kafka://a:1/t/u", "'t/u' is no topic's name"),
        ("kafka://a:1/t?from", "no NAME=VALUE"),
        ("kafka://a:1/t?since=1", "stand from and to"),
        ("kafka://a:1/t?from=1&from=2", "stand from and to"),
        ("kafka://a:1/t?from=yesterday", "from=yesterday is none of beginning, end, a time"),
        ("kafka://a:1/t?to=0:1,1", "to=0:1,1 is none of"),
    ],
)
def test_another_form_is_refused_and_the_right_one_named(text: str, said: str) -> None:
    """Whatever part of it is wrong."""
    with pytest.raises(UsageError, match=said):
        parse_topic_url(text)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """It would stand in histories and in the manifest."""
    with pytest.raises(UsageError, match="no credentials in a URL") as refused:
        parse_topic_url("kafka://user:hush@a:1/t")
    assert "hush" not in str(refused.value)
