"""An identity provider's token endpoint for tests: client credentials in, unsigned tokens out (RFC 6749, RFC 7519)."""

import base64
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

PATIENCE_SECONDS: Final = 60.0


class TokenEndpoint:
    """Gives tokens of `subject` that live for `life_seconds`; entered, it answers at `url` on loopback.

    given: the tokens so far. scopes: what each was asked for. status: 200, or what every request is refused with.
    answer: instead of the JSON with the token.
    """

    def __init__(self, client_id: str, client_secret: str, *, subject: str, life_seconds: float) -> None:
        self.given: list[str] = []
        self.scopes: list[str | None] = []
        self.status = 200
        self.answer: bytes | None = None
        self.headers: dict[str, str] = {}
        self._pair = ":".join(map(urllib.parse.quote_plus, (client_id, client_secret)))
        self._subject, self._life_seconds = subject, life_seconds
        self._changed = threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, body = endpoint._answer(form, self.headers["Authorization"])
                self.send_response(status)
                for name, value in endpoint.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"

    @property
    def n_given(self) -> int:
        """Return how many tokens were given."""
        return len(self.given)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, n_given: int) -> None:
        """Wait until so many tokens were given."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.given) >= n_given, PATIENCE_SECONDS)

    def _answer(self, form: dict[str, list[str]], authorization: str) -> tuple[int, bytes]:
        basic = f"Basic {base64.b64encode(self._pair.encode()).decode()}"
        if self.status != 200:
            return self.status, b"{}"
        if authorization != basic or form["grant_type"] != ["client_credentials"]:
            return 401, b'{"error": "invalid_client"}'
        if self.answer is not None:
            return 200, self.answer
        now_seconds = time.time()
        claims = {"sub": self._subject, "iat": now_seconds - 120, "exp": now_seconds + self._life_seconds}
        token = f"{_part({'alg': 'none'})}.{_part(claims)}."
        with self._changed:
            self.given.append(token)
            self.scopes.append(form.get("scope", [None])[0])
            self._changed.notify_all()
        return 200, json.dumps({"access_token": token, "expires_in": abs(self._life_seconds)}).encode()


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
