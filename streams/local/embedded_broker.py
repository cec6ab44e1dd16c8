"""A Kafka to play with that needs nothing but the confluent-kafka wheel: librdkafka's mock cluster.

Good for one worker a group, its tables, changelogs and commits. Topics appear when first asked for, with four
partitions; nothing is compacted; a partition keeps 5 MiB or 100,000 batches and drops the oldest; all is gone at the
end. What needs more runs on `streams.local.kafka_node`. Source: librdkafka, rdkafka_mock.h.
"""

import sys
from typing import Final, Self

import click
from confluent_kafka import Producer

from schemas.child_process import ChildError, ChildProcess
from schemas.errors import InsessionError

PARTITIONS: Final = 4
"""Of every topic; the mock cluster offers no other count to Python."""
_TIMEOUT_SECONDS: Final = 10.0
_START_TIMEOUT_SECONDS: Final = 60.0


class EmbeddedBroker:
    """The mock cluster in threads of this process, from construction to `close` or the end of the `with` block."""

    def __init__(self) -> None:
        # The cluster belongs to this client; the address asked for is ignored but must be there.
        self._owner: Producer | None = Producer(
            {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3}
        )
        (broker,) = self._owner.list_topics(timeout=_TIMEOUT_SECONDS).brokers.values()
        self.address: Final = f"{broker.host}:{broker.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the cluster; all that was in it is gone."""
        self._owner = None


class EmbeddedBrokerProcess:
    """The mock cluster in a process of its own, which ends with the `with` block or with the process that started it.

    Raises InsessionError when the process does not come up.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", "streams.local.embedded_broker"]
        self._child = ChildProcess("The embedded broker", command, has_pipes=True)
        try:
            self.address: Final = self._child.wait_for_line(_START_TIMEOUT_SECONDS).strip()
        except ChildError as error:
            self.close()
            raise InsessionError(
                f"The embedded broker did not start ({error.what}): run "
                "`python -m streams.local.embedded_broker` to see why."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process by closing its input; kill it where that takes longer than 10 s."""
        self._child.stop(_TIMEOUT_SECONDS)


@click.command()
def command() -> None:
    """Run the embedded broker until standard input ends; print its address."""
    with EmbeddedBroker() as broker:
        click.echo(broker.address)
        sys.stdin.read()  # the end of input is the end of the parent


if __name__ == "__main__":
    command()
