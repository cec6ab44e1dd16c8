"""An S3 server of this process: moto's, on loopback, with an empty bucket. Tests use it, too."""

import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(bucket: str = "bus") -> Iterator[None]:
    """Run one on a free port, while the AWS_* variables of this process and its children lead to it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it has a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    try:
        _ask("POST", f"{address}/moto-api/reset")  # it keeps all buckets as long as the process lives
        _ask("PUT", f"{address}/{bucket}")
        with patch.dict(os.environ, variables):
            yield
    finally:
        server.stop()


def _ask(method: str, url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method=method)):  # noqa: S310 - our own loopback address
        pass
