"""One node of Apache Kafka on loopback: for tests, benchmarks and `make kafka`. Production brings its own cluster."""

import base64
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, Self

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.child_process import ChildError, ChildProcess, last_words
from schemas.free_ports import free_port
from streams.local.kafka_jars import KafkaUnavailableError, default_cache, fetch, find_java

_HOST: Final = "127.0.0.1"
_START_TIMEOUT_SECONDS: Final = 60.0
_STOP_TIMEOUT_SECONDS: Final = 20.0

# A killed broker may not register again before its old session ends: 4 s instead of 9 keep `kill` and `start` short.
_SERVER_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
"""


class KafkaNode:
    """A broker and controller in one process, listening on loopback only; it dies with the process that started it.

    `with KafkaNode() as node:` starts it on free ports and waits until it answers; `stop` or `kill` and then `start`
    brings it back with the same address and the same data. Topics are never created by use, consumer groups rebalance
    without delay, nothing is replicated. Raises KafkaUnavailableError where Java 17 or Maven is missing, or when the
    broker does not answer in 60 s (the message ends with its last log lines).
    """

    def __init__(self, data_dir: Path | None = None, *, cache_dir: Path | None = None) -> None:
        """Prepare a node on `data_dir`, kept at the end; without one, on a temporary folder that goes with the node."""
        self._temporary = data_dir is None
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-node-")) if data_dir is None else data_dir.resolve()
        self._cache_dir = cache_dir or default_cache()
        self._port, self._controller_port = free_port(_HOST), free_port(_HOST)
        self._child: ChildProcess | None = None

    @property
    def address(self) -> str:
        """`host:port` for `bootstrap.servers`; the same for the life of the object."""
        return f"{_HOST}:{self._port}"

    @property
    def log_path(self) -> Path:
        """What the broker writes to standard output and error."""
        return self._folder / "broker.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the broker and wait until it answers; format its storage the first time."""
        assert self._child is None, "the node runs already"
        java, libs = find_java(), fetch(self._cache_dir)
        jvm = [java, "-Xmx512m", "-cp", f"{libs}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        properties = self._write_properties()
        if not (self._folder / "data" / "meta.properties").is_file():
            self._format(jvm, properties)
        command = [*jvm, "kafka.Kafka", str(properties)]
        self._child = ChildProcess(f"Kafka on {self.address}", command, log_path=self.log_path)
        try:
            self._child.wait_until(lambda: _answers(self.address), _START_TIMEOUT_SECONDS)
        except ChildError as error:
            raise KafkaUnavailableError(str(error)) from None

    def stop(self) -> None:
        """Stop the broker with SIGTERM; kill it where that takes longer than 20 s. No effect on a stopped node."""
        self._end(lambda child: child.stop(_STOP_TIMEOUT_SECONDS))

    def kill(self) -> None:
        """Kill the broker with SIGKILL: what a crash of the machine leaves is what `start` finds."""
        self._end(ChildProcess.kill)

    def pause(self) -> None:
        """Let the broker hang: its connections stay open and nothing answers, as over a network that drops all."""
        assert self._child is not None
        self._child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on."""
        assert self._child is not None
        self._child.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop the broker and remove its folder where that is temporary."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, end: Callable[[ChildProcess], None]) -> None:
        child, self._child = self._child, None
        if child is not None:
            end(child)

    def _write_properties(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "server.properties"
        text = _SERVER_PROPERTIES.format(
            host=_HOST, port=self._port, controller_port=self._controller_port, log_dir=self._folder / "data"
        )
        path.write_text(text, encoding="utf-8")
        return path

    def _format(self, jvm: list[str], properties: Path) -> None:
        # Kafka refuses an id that starts with a dash; "k" keeps 22 characters of base64 that decode to 16 bytes.
        cluster_id = "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii")[1:22]
        command = [*jvm, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)]
        with self.log_path.open("ab") as log:
            run = subprocess.run(command, stdout=log, stderr=log, check=False, timeout=60)  # noqa: S603 - no shell
        if run.returncode != 0:
            raise KafkaUnavailableError(
                f"Kafka could not format its storage in {self._folder}: {last_words(self.log_path)}"
            )


def _answers(address: str) -> bool:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Keep the data here; by default it goes at the end.")
def command(data_dir: Path | None) -> None:
    """Run one Kafka node on a free port of loopback until Ctrl-C or SIGTERM; print its address."""
    asked_to_end = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        asked_to_end.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        with KafkaNode(data_dir) as node:
            click.echo(node.address)
            asked_to_end.wait()
    except KafkaUnavailableError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    command()
