import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.configuration.keys import SettingKey
from agents.configuration.values import plain, read_value, toml_text
from agents.durations import duration_text
from schemas.errors import UsageError
from schemas.ids import ItemId
from schemas.secret import MASK, Secret


def key_of(kind: Any, *, is_optional: bool = False) -> SettingKey:
    """Make a key of a type."""
    return SettingKey(("s", "k"), kind, None, "", is_optional)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(minutes=90)),
        ("0.5h", timedelta(minutes=30)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_amounts_with_units(text: str, duration: timedelta) -> None:
    """Several amounts are added up."""
    assert read_value(key_of(timedelta), text) == duration


@pytest.mark.parametrize("text", ["", "5 s", "5x", "m", "-5s", "5s ", "1e9d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message says how a duration is written."""
    with pytest.raises(UsageError, match=r"^must be a duration like 500ms, 30s, 5m, 12h or 7d, or seconds, found '"):
        read_value(key_of(timedelta), text)


def test_a_duration_beyond_all_bounds_is_refused() -> None:
    """No traceback comes of a number that is too large."""
    with pytest.raises(UsageError, match="must be a duration"):
        read_value(key_of(timedelta), "99999999999999d")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (0.0005, "0.5ms"), (90, "90s"), (1800, "30m"), (43200, "12h"), (2592000, "30d")],
)
def test_a_duration_is_written_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    """What is written is read back as the same."""
    assert duration_text(timedelta(seconds=seconds)) == text
    assert read_value(key_of(timedelta), text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("kind", [str, Path, int, timedelta, Secret])
def test_an_empty_text_is_an_optional_setting_that_is_not_set(kind: Any) -> None:
    """A variable that is passed on empty says nothing."""
    assert read_value(key_of(kind, is_optional=True), "") is None


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(given: Any) -> None:
    """It is within every bound, or beyond what anything can be reckoned with."""
    with pytest.raises(UsageError, match="must be a number, found"):
        read_value(key_of(float), given)


@pytest.mark.parametrize("kind", [tuple[ItemId, ...], frozenset[ItemId]])
def test_a_list_in_one_text_is_comma_separated(kind: Any) -> None:
    """The environment has no lists."""
    assert set(read_value(key_of(kind), "a, b,")) == {"a", "b"}


@pytest.mark.parametrize("given", [4711, ["4711"], {"x": "4711"}])
def test_a_wrong_secret_is_not_repeated(given: Any) -> None:
    """What was meant as a secret stays out of the message."""
    with pytest.raises(UsageError) as caught:
        read_value(key_of(Secret), given)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        'text with "quotes" and ü',
        7,
        0.5,
        True,
        ["a", "b"],
        {"visitor_id": "user.id", "odd key": {"a": "b"}},
    ],
)
def test_what_is_written_is_toml(value: Any) -> None:
    """TOML's own reader gives it back."""
    assert tomllib.loads(f"k = {toml_text(value)}")["k"] == value


def test_a_secret_is_plainly_a_mask() -> None:
    """Nothing that is shown or logged goes past this."""
    assert plain(Secret("hidden")) == MASK
