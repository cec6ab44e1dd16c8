"""Who may see the live page: everybody on this machine, or whoever has the token."""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from schemas.secret import Secret

COOKIE: Final = "insession_live"
HOW_TO_OPEN: Final = (
    "The live page is open on a loopback kafka.web_host only. Set live.token (INSESSION_LIVE__TOKEN) to a long random "
    "text, and give it once as /live?token=...\n"
)
HOW_TO_ENTER: Final = "The live page needs its token: /live?token=..., or the header Authorization: Bearer ...\n"
NOT_LOCAL: Final = "Without live.token the live page is asked for by a loopback address: http://127.0.0.1\n"


@dataclass(frozen=True, slots=True)
class Access:
    """Decides on requests. web_host: where the worker listens; token: None = loopback only."""

    web_host: str
    token: Secret | None

    def check(self, request: web.BaseRequest) -> None:
        """Let a request through; raises HTTPForbidden that says what to do.

        Without a token the Host header must be a loopback name: else a page elsewhere could read this one by DNS
        rebinding.
        """
        if self.token is None:
            if not is_loopback(self.web_host):
                raise web.HTTPForbidden(text=HOW_TO_OPEN)
            if not _names_loopback(request):
                raise web.HTTPForbidden(text=NOT_LOCAL)
        elif not (
            self.opens(_bearer(request)) or _equal(request.cookies.get(COOKIE, ""), self.cookie_value(self.token))
        ):
            raise web.HTTPForbidden(text=HOW_TO_ENTER)

    def opens(self, token: str) -> bool:
        """Compare with the token, in constant time."""
        return self.token is not None and _equal(token, self.token.reveal())

    def cookie_value(self, token: Secret) -> str:
        """Derive what the browser keeps: not the token itself."""
        return hmac.digest(token.reveal().encode(), COOKIE.encode(), "sha256").hex()


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names_loopback(request: web.BaseRequest) -> bool:
    try:
        return is_loopback(request.url.host or "")
    except ValueError:  # a Host header that is none
        return False


def _bearer(request: web.BaseRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
