from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UsageError
from serving.settings import ServingSettings, ServingTls


def test_the_defaults_are_valid_and_loopback() -> None:
    """Without settings the worker asks the server on its own machine."""
    assert ServingSettings().address.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("address", "localhost"),
        ("address", ":8500"),
        ("address", "localhost:http"),
        ("address", "localhost:0"),
        ("address", "localhost:65536"),
        ("model_name", ""),
        ("model_name", "a/b"),
        ("status_timeout", timedelta(0)),
        ("release_poll", timedelta(seconds=-1)),
        ("min_budget", timedelta(milliseconds=-1)),
        ("max_batch", 0),
        ("max_batch", 4097),
        ("max_waiting", 0),
        ("max_concurrent_calls", 0),
        ("breaker_failures", -1),
        ("breaker_open", timedelta(0)),
        ("answer_size", 0),
        ("overfetch", 0),
        ("popular_half_life", timedelta(0)),
        ("popular_max_items", -1),
        ("popular_max_locations", -1),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(key: str, value: Any) -> None:
    """The message names the key that is wrong."""
    with pytest.raises(UsageError, match=rf"^serving\.{key}\b"):
        ServingSettings(**{key: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca_file": Path("none.pem")}, "ca_file: there is no file none.pem"),
        ({"server_name": "models"}, "server_name is set, but without serving.tls.ca_file there is no TLS"),
        ({"key_file": Path("k.pem")}, "key_file is set, but without"),
    ],
)
def test_tls_that_cannot_work_is_refused_by_its_key(settings: dict[str, Any], message: str) -> None:
    """Nothing that is set stays without effect in silence."""
    with pytest.raises(UsageError, match=rf"^serving\.tls\.{message}"):
        ServingTls(**settings)
