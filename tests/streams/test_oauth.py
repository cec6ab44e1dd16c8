import importlib.util
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import faust
import pytest

from schemas.errors import UsageError
from schemas.secret import Secret
from streams import oauth
from streams.credentials import broker_credentials
from streams.oauth import AccessToken, BearerTokens, OAuthSettings, TokenError, TokenSource
from streams.security import SecuritySettings
from tests.token_endpoint import TokenEndpoint

SECRET = "geheim/4711: @&"  # noqa: S105 - of a test; odd characters must arrive as they are


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    """Run an endpoint that knows one client."""
    with TokenEndpoint("shop", SECRET, subject="insession", life_seconds=600) as running:
        yield running


def settings(endpoint: TokenEndpoint, **changed: Any) -> OAuthSettings:
    """Return the right settings for an endpoint, some of them changed."""
    right = {"token_url": endpoint.url, "client_id": "shop", "client_secret": Secret(SECRET)}
    return OAuthSettings(**{**right, **changed})


def test_a_token_is_asked_for_by_client_credentials(endpoint: TokenEndpoint) -> None:
    """Name and secret arrive whatever is in them, the scope as it was set, and the life is the endpoint's."""
    before = settings(endpoint, scope="kafka read").fetch()
    assert [before.text.reveal()] == endpoint.given
    assert endpoint.scopes == ["kafka read"]
    assert before.text.reveal() not in repr(before)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda endpoint: setattr(endpoint, "status", 500), "refused with status 500. Check"),
        (lambda endpoint: setattr(endpoint, "answer", b"<html>"), "gave no access_token. Check"),
        (lambda endpoint: setattr(endpoint, "answer", b"[]"), "gave no access_token. Check"),
        (lambda endpoint: setattr(endpoint, "answer", b'{"access_token": 3}'), "is no text of a token"),
        (lambda endpoint: setattr(endpoint, "answer", b'{"access_token": "a\\r\\nb"}'), "is no text of a token"),
    ],
    ids=["failing", "page", "list", "number", "lines"],
)
def test_an_endpoint_that_gives_no_token_is_told(
    endpoint: TokenEndpoint, spoil: Callable[[TokenEndpoint], None], message: str
) -> None:
    """The message names the endpoint and the settings to look at, and no secret."""
    spoil(endpoint)
    with pytest.raises(TokenError, match=message) as told:
        settings(endpoint).fetch()
    assert endpoint.url in str(told.value)
    assert SECRET not in str(told.value)


def test_a_wrong_secret_is_told(endpoint: TokenEndpoint) -> None:
    """It is the endpoint that refuses."""
    with pytest.raises(TokenError, match=r"status 401\. Check kafka\.security\.oauth\.client_id"):
        settings(endpoint, client_secret=Secret("wrong")).fetch()


def test_the_secret_goes_nowhere_else(endpoint: TokenEndpoint) -> None:
    """A redirection is a refusal: another host must not get the client's secret."""
    with TokenEndpoint("shop", SECRET, subject="stranger", life_seconds=600) as stranger:
        endpoint.status, endpoint.headers = 302, {"Location": stranger.url}
        with pytest.raises(TokenError, match="status 302"):
            settings(endpoint).fetch()
        assert stranger.given == []


class Provider:
    """Gives numbered tokens that live for 100 s, by a clock that the test turns; `is_away`: gives none."""

    def __init__(self) -> None:
        self.now_seconds, self.n_given, self.is_away = 1000.0, 0, False
        self.source = TokenSource(self.fetch, lambda: self.now_seconds)

    def fetch(self) -> AccessToken:
        """Return the next token."""
        if self.is_away:
            raise TokenError("the endpoint is away")
        self.n_given += 1
        return AccessToken(Secret(str(self.n_given)), self.now_seconds + 100)

    def at(self, seconds: float) -> str:
        """Ask for a token so long after the beginning."""
        self.now_seconds = 1000.0 + seconds
        return self.source.token().text.reveal()


def test_a_token_is_kept_and_renewed_before_it_expires() -> None:
    """At 80 % of its life there is a new one; librdkafka is told when that ends."""
    provider = Provider()
    assert [provider.at(seconds) for seconds in (0, 50, 79, 80, 100, 159, 160)] == ["1", "1", "1", "2", "2", "2", "3"]
    assert provider.source.librdkafka("") == ("3", 1260.0)


def test_the_old_token_serves_while_no_new_one_can_be_had() -> None:
    """An endpoint that is away for less than a fifth of a token's life is not noticed; then it is an error."""
    provider = Provider()
    provider.at(0)
    provider.is_away = True
    assert provider.at(98) == "1"
    with pytest.raises(TokenError, match="away"):
        provider.at(99.5)
    provider.is_away = False
    assert provider.at(200) == "2"


def test_clients_that_ask_at_once_share_one_token() -> None:
    """A worker has many connections; the endpoint is asked once."""
    provider = Provider()
    threads = [threading.Thread(target=provider.source.token) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider.n_given == 1


async def test_aiokafka_gets_the_token_and_takes_a_failure_for_one_of_the_connection() -> None:
    """So a lost endpoint is tried again as a lost broker is, and no exception leaves the client's task."""
    from aiokafka.errors import KafkaError

    provider = Provider()
    assert await BearerTokens(provider.source).token() == "1"
    provider.is_away, provider.now_seconds = True, 5000.0
    with pytest.raises(KafkaError, match="the endpoint is away"):
        await BearerTokens(provider.source).token()


def test_both_clients_are_given_the_same_source(endpoint: TokenEndpoint) -> None:
    """What librdkafka and Faust are told is OAUTHBEARER with one token."""
    security = SecuritySettings(protocol="sasl_plaintext", mechanism="OAUTHBEARER", oauth=settings(endpoint))
    config, credentials = security.librdkafka(), broker_credentials(security)
    assert (config["sasl.mechanism"], config["security.protocol"]) == ("OAUTHBEARER", "sasl_plaintext")
    assert isinstance(credentials, faust.OAuthCredentials)
    text, _ = config["oauth_cb"]("")
    assert endpoint.given == [text]
    assert credentials.oauth_cb._source is security.tokens


def test_msk_signs_with_the_machines_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brokers see OAUTHBEARER; the token is made here, for the region, without a request to anybody."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    security = SecuritySettings(protocol="sasl_ssl", mechanism="AWS_MSK_IAM", aws_region="eu-central-1")
    assert security.librdkafka()["sasl.mechanism"] == "OAUTHBEARER"
    text = oauth.aws_token("eu-central-1").text.reveal()
    assert text.isascii()
    assert len(text) > 100


def test_msk_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'insession\[msk\]'"):
        SecuritySettings(protocol="sasl_ssl", mechanism="AWS_MSK_IAM", aws_region="eu-central-1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"token_url": "login"}, r"oauth\.token_url: 'login' is no URL"),
        ({"timeout": timedelta(0)}, r"oauth\.timeout must be above 0"),
        ({"ca_file": Path("/none.pem")}, r"oauth\.ca_file: there is no file"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], message: str) -> None:
    """Before anything connects."""
    with pytest.raises(UsageError, match=message):
        OAuthSettings(**changed)


def test_a_token_url_with_a_password_is_masked() -> None:
    """Where somebody puts the secret into the address, no message shows it."""
    address = "http://{}@127.0.0.1:9/token".format("shop:geheim")
    away = OAuthSettings(token_url=address, client_id="shop", client_secret=Secret("s"))
    with pytest.raises(TokenError) as told:
        away.fetch()
    assert "geheim" not in str(told.value)
