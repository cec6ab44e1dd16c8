"""A Kafka to play with that needs nothing but the confluent-kafka wheel: librdkafka's mock cluster.

Good for one worker a group, its tables, changelogs and commits. Topics appear when first asked for, with four
partitions; nothing is compacted; a partition keeps 5 MiB or 100,000 batches and drops the oldest; all is gone at the
end. What needs more runs on `streams.local.kafka_node`. Source: librdkafka, rdkafka_mock.h.
"""

import subprocess
import sys
from typing import Final, Self

import click
from confluent_kafka import Producer

from schemas.errors import InsessionError

PARTITIONS: Final = 4
"""Of every topic; the mock cluster offers no other count to Python."""
_TIMEOUT_SECONDS: Final = 10.0


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
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams.local.embedded_broker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the parent, which ends its workers before their broker
        )
        assert self._process.stdout is not None
        self.address: Final = self._process.stdout.readline().strip()
        if not self.address:
            self.close()
            raise InsessionError(
                f"The embedded broker did not start (exit code {self._process.returncode}): run "
                "`python -m streams.local.embedded_broker` to see why."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process by closing its input; kill it where that takes longer than 10 s."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@click.command()
def command() -> None:
    """Run the embedded broker until standard input ends; print its address."""
    with EmbeddedBroker() as broker:
        click.echo(broker.address)
        sys.stdin.read()  # the end of input is the end of the parent


if __name__ == "__main__":
    command()
