"""An S3 server of this process, and the variables that lead to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import s3_server as servers


@contextmanager
def s3_server(bucket: str = "bus") -> Iterator[None]:
    """Run one with an empty bucket, while AWS_* variables of this process lead to it."""
    with servers.s3_server(bucket) as variables, pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        yield
