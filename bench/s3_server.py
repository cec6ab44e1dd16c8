"""An S3 server of this process: moto's, on loopback, with an empty bucket. Tests use it, too."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(bucket: str = "bus") -> Iterator[None]:
    """Run one on a free port, while the AWS_* variables of this process and its children lead to it."""
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
    made = urllib.request.Request(f"{address}/{bucket}", method="PUT")  # noqa: S310 - our own loopback address
    try:
        with patch.dict(os.environ, variables), urllib.request.urlopen(made):  # noqa: S310
            yield
    finally:
        server.stop()
