"""Access tokens for the brokers (SASL/OAUTHBEARER, KIP-255), one source for librdkafka's clients and aiokafka's.

Both clients ask for a token when they connect; a source fetches one, keeps it and renews it before it expires.
"""

import asyncio
import base64
import functools
import importlib.util
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from schemas.certificates import CertificateFiles
from schemas.errors import InsessionError, UsageError
from schemas.secret import Secret

_RENEW_AT: Final = 0.8
"""Share of a token's life after which it is renewed, as librdkafka's own clients and Java's do."""
_SHORTEST_SECONDS: Final = 1.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_DEFAULT_LIFE_SECONDS: Final = 300.0
"""Of a token whose endpoint does not say; RFC 6749, 5.1, leaves it open."""


class TokenError(InsessionError):
    """No token could be had, so no broker can be reached."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token; expires_at_seconds: Unix time."""

    text: Secret
    expires_at_seconds: float


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for a refusal: the client's secret is for the endpoint that was set alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


FetchToken = Callable[[], AccessToken]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """Where the client gets its access tokens by the grant of client credentials (RFC 6749, 4.4); for OAUTHBEARER.

    token_url: Token endpoint of the identity provider, as in https://login.example/oauth2/token.
    client_id: Name of the client there.
    client_secret: Its secret.
    scope: What is asked for, where the provider wants to be told.
    ca_file: Certificates that vouch for the token endpoint; without one, those of the system.
    timeout: How long the endpoint may take.
    """

    token_url: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    scope: str | None = None
    ca_file: Path | None = None
    timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        if self.token_url is not None and not self.token_url.startswith(("http://", "https://")):
            raise UsageError(f"kafka.security.oauth.token_url: {self.token_url!r} is no URL like https://login/token")
        if self.timeout <= timedelta(0):
            raise UsageError(f"kafka.security.oauth.timeout must be above 0, found {self.timeout}")
        if self.ca_file is not None:
            CertificateFiles(section="kafka.security.oauth", ca_file=self.ca_file).ssl_context()

    def given(self) -> list[str]:
        """Return the keys that somebody set."""
        keys = ("token_url", "client_id", "client_secret", "scope", "ca_file")
        return [key for key in keys if getattr(self, key) is not None]

    def fetch(self) -> AccessToken:
        """Ask the endpoint for a token, once. Raises TokenError that says what to look at."""
        assert self.token_url is not None
        assert self.client_id is not None
        assert self.client_secret is not None
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        # RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
        pair = ":".join(map(urllib.parse.quote_plus, (self.client_id, self.client_secret.reveal())))
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.token_url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}", "Accept": "application/json"},
        )
        context = None
        if self.token_url.startswith("https://"):
            context = CertificateFiles(section="kafka.security.oauth", ca_file=self.ca_file).ssl_context()
        asked_at_seconds = time.time()
        try:
            opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))
            with opener.open(request, timeout=self.timeout.total_seconds()) as answer:
                token = json.loads(answer.read(_MAX_ANSWER_BYTES))
            text, life_seconds = token["access_token"], float(token.get("expires_in", _DEFAULT_LIFE_SECONDS))
        except urllib.error.HTTPError as error:
            with error:
                raise TokenError(
                    f"The token endpoint {self.token_url} refused with status {error.code}. Check "
                    "kafka.security.oauth.client_id, kafka.security.oauth.client_secret and kafka.security.oauth.scope."
                ) from None
        except OSError as error:
            raise TokenError(
                f"The token endpoint {self.token_url} did not answer: {error}. Check the address, "
                "kafka.security.oauth.token_url, and kafka.security.oauth.ca_file."
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TokenError(
                f"The token endpoint {self.token_url} gave no access_token. Check kafka.security.oauth.token_url: it "
                "must be the endpoint for tokens of the grant client_credentials."
            ) from error
        if not isinstance(text, str) or not text.isascii() or any(ord(one) <= ord(" ") for one in text):
            raise TokenError(f"The token endpoint {self.token_url} gave an access_token that is no text of a token.")
        return AccessToken(Secret(text), asked_at_seconds + life_seconds)


def require_aws_signer() -> None:
    """Raise UsageError where the extra that signs tokens for Amazon MSK is not installed."""
    if importlib.util.find_spec("aws_msk_iam_sasl_signer") is None:
        raise UsageError(
            "kafka.security.mechanism AWS_MSK_IAM needs a package that is not there: pip install 'insession[msk]'"
        )


def aws_token(region: str) -> AccessToken:
    """Sign a token of Amazon MSK's IAM with the machine's own AWS credentials; raises TokenError."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - an extra

    try:
        text, expires_at_ms = MSKAuthTokenProvider.generate_auth_token(region)
    except Exception as error:  # whatever the AWS library meets: no credentials, no network, a wrong region
        raise TokenError(
            f"AWS gave no credentials to sign a token for the brokers: {error}. Check the role of the machine or pod, "
            "and kafka.security.aws_region."
        ) from error
    return AccessToken(Secret(text), expires_at_ms / 1000)


class TokenSource:
    """Fetches a token when it is first needed, and again before it expires; threads that ask meanwhile wait.

    While no new one can be had, the old one serves until it expires. clock: Unix seconds, by which it does.
    """

    def __init__(self, fetch: FetchToken, clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._renew_at_seconds = 0.0

    def token(self) -> AccessToken:
        """Return a token that has not expired; raises TokenError."""
        with self._lock:
            now_seconds = self._clock()
            if self._token is None or now_seconds >= self._renew_at_seconds:
                try:
                    self._token = self._fetch()
                except TokenError:
                    if self._token is None or now_seconds >= self._token.expires_at_seconds - _SHORTEST_SECONDS:
                        raise
                else:
                    life_seconds = self._token.expires_at_seconds - now_seconds
                    self._renew_at_seconds = now_seconds + max(_SHORTEST_SECONDS, _RENEW_AT * life_seconds)
            return self._token

    def librdkafka(self, _config: str) -> tuple[str, float]:
        """Return text and end of life, as the client's `oauth_cb` does; librdkafka asks again at 80 % of the life."""
        token = self.token()
        return token.text.reveal(), token.expires_at_seconds


class BearerTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Gives aiokafka its tokens, off the event loop."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    async def token(self) -> str:
        """Return the token's text; a failure is one of the connection, which aiokafka tries again."""
        try:
            token = await asyncio.to_thread(self._source.token)
        except TokenError as error:
            raise KafkaConnectionError(str(error)) from error
        return token.text.reveal()


@functools.cache
def token_source(oauth: OAuthSettings, aws_region: str | None) -> TokenSource:
    """Return the one source of these settings in this process: clients share its token."""
    fetch: Any = oauth.fetch if aws_region is None else functools.partial(aws_token, aws_region)
    return TokenSource(fetch)
