"""A registry for tests: the mock of Confluent's own client, which can go away and be refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from streams.encodings.registry import SchemaRegistry
from streams.encodings.settings import RegistrySettings


class FakeRegistryClient:
    """Confluent's mock; `trouble` is raised instead of any answer, `asked` counts what was asked for."""

    def __init__(self) -> None:
        self._mock = SchemaRegistryClient.new_client({"url": "mock://"})
        self.trouble: Exception | None = None
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what it knows."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.asked.append(name)
            if self.trouble is not None:
                raise self.trouble
            return getattr(self._mock, name)(*arguments)

        return call

    def add(self, subject: str, text: str, kind: str = "AVRO", references: tuple[tuple[str, str], ...] = ()) -> int:
        """Register a schema as a producer does; references: name and subject. Gives its id."""
        named = [SchemaReference(name, other, 1) for name, other in references]
        return int(self._mock.register_schema(subject, Schema(text, kind, named)))


@pytest.fixture
def client() -> FakeRegistryClient:
    """Make a registry that knows nothing."""
    return FakeRegistryClient()


@pytest.fixture
def registry_of(client: FakeRegistryClient) -> Callable[..., SchemaRegistry]:
    """Make what asks that registry; `folder` is where it keeps schemas."""

    def make(folder: Path | None = None, url: str = "http://registry:8081") -> SchemaRegistry:
        return SchemaRegistry(RegistrySettings(url=url), folder, lambda _: client)

    return make
