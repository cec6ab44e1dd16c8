"""An S3 server of this process: moto's, on loopback, with an empty bucket."""

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(bucket: str) -> Iterator[Mapping[str, str]]:
    """Run one on a free port; yields the AWS_* variables that lead a process to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        made = urllib.request.Request(f"{address}/{bucket}", method="PUT")  # noqa: S310 - our own loopback address
        with urllib.request.urlopen(made):  # noqa: S310
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
    finally:
        server.stop()
