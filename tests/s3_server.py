"""An S3 server of this process, and the variables that lead to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(bucket: str = "bus") -> Iterator[ThreadedMotoServer]:
    """Run one on a free port of loopback, with an empty bucket, while AWS_* variables of this process lead to it."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ALLOW_HTTP", "true")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_REGION", "us-east-1")
        try:
            boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
            yield server
        finally:
            server.stop()
