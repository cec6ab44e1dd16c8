"""The services of compose.yaml as plain processes: their very commands and variables, on a Kafka of the tests.

What a container engine would add is put in by hand: addresses of other services, paths of mounts, ports.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agents.settings import load_settings
from streams.cluster.topics import Topic
from streams.local.kafka_jars import default_cache, fetch, find_java
from tests.compose.stack import Service, Stack
from tests.compose.test_dockerfile import of
from tests.kafka.deployment import note_topics
from tests.kafka.shop import Traffic, live_clicks
from tests.kafka.topic_log import TopicReader
from tests.kafka.worker_process import COMMAND, WorkerProcess

pytestmark = pytest.mark.kafka

STACK = Stack()
CLICKS = 200


def properties_of(kafka: Service) -> dict[str, str]:
    """Turn the broker's variables into properties, as its image does."""
    names = {name: name.removeprefix("KAFKA_").lower().replace("_", ".") for name in kafka.environment}
    own = {"CLUSTER_ID", "KAFKA_HEAP_OPTS"}
    return {names[name]: value for name, value in kafka.environment.items() if name not in own}


def test_kafka_takes_the_configuration(kafka_tools: None, tmp_path: Path) -> None:  # noqa: ARG001 - only its skip
    """Kafka's own storage tool formats a folder with the broker's variables and the cluster's id."""
    kafka = STACK.services["kafka"]
    assert properties_of(kafka)["log.dirs"] == kafka.mounts[0].target, "else the data would go with the container"
    properties = properties_of(kafka) | {"log.dirs": str(tmp_path / "data")}
    file = tmp_path / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    tool = [find_java(), "-cp", f"{fetch(default_cache())}/*", "kafka.tools.StorageTool", "format", "-c", str(file)]
    run = subprocess.run(
        [*tool, "-t", kafka.environment["CLUSTER_ID"]], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "data" / "meta.properties").is_file()


class Machine:
    """Runs services as processes; `outside` is what only the engine knows."""

    def __init__(self, outside: dict[str, str], folder: Path) -> None:
        self._outside = outside
        self._folder = folder

    def environment(self, service: Service) -> dict[str, str]:
        """Return a service's variables, with the addresses and paths of this machine."""
        return service.environment | self._outside

    def run(self, service: Service) -> str:
        """Run a service that ends by itself and give what it says."""
        environment = self.environment(service)
        done = subprocess.run(
            [COMMAND, *service.command], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, service: Service) -> WorkerProcess:
        """Start a worker on a folder of its own."""
        return WorkerProcess({}, self.environment(service), self._folder / service.name)


@pytest.fixture
def machine(kafka_topics: Callable[..., Any], tmp_path: Path) -> Iterator[Machine]:
    """Stand in for the engine: a prefix of this test keeps the stack apart from other tests."""
    topics = kafka_topics()
    outside = {
        "INSESSION_KAFKA__BROKERS": topics.brokers,
        "INSESSION_KAFKA__WEB_HOST": "127.0.0.1",
        "INSESSION_TOPICS__PREFIX": topics.settings.prefix,
        "INSESSION_SERVING__ADDRESS": "127.0.0.1:9",  # no server yet, as in a stack without a release
        "INSESSION_SERVING__MODELS_DIRECTORY": str(tmp_path / "models"),
    }
    yield Machine(outside, tmp_path)
    note_topics(topics)


@pytest.mark.slow
def test_the_services_answer_every_click(machine: Machine) -> None:
    """Topics are made, two workers share them, are healthy by the image's own check, answer, and stop in order."""
    topics = STACK.services["topics"]
    assert str(Topic.CLICKSTREAM) in machine.run(topics)
    settings = load_settings(environment=machine.environment(topics))
    clickstream, answers = (settings.topics.name(topic) for topic in (Topic.CLICKSTREAM, Topic.RECOMMENDATIONS))
    with ExitStack() as stack:
        workers = [machine.start(service) for service in STACK.workers]
        reader = TopicReader(settings.kafka.brokers, settings.topics.prefix + settings.kafka.group)
        for part in (reader, *workers):
            stack.callback(part.close)
        for worker in workers:
            worker.wait_until_ready()
        Traffic(settings.kafka.brokers, clickstream, live_clicks(1, visitors=20)).write(CLICKS)
        workers[0].wait_until(lambda: sum(reader.end_offsets(answers).values()) >= CLICKS, "all clicks were answered")
        assert [check_health(worker) for worker in workers] == [0, 0]
        assert [worker.end(signal.SIGTERM) for worker in workers] == [0, 0]
        inputs = {f"{clickstream}-{record.partition}-{record.offset}" for record in reader.read(clickstream)}
        assert {json.loads(record.value)["id"] for record in reader.read(answers) if record.value} == inputs


def check_health(worker: WorkerProcess) -> int:
    """Run the image's health check against a worker; its exit code."""
    _, script = json.loads(of("worker", "HEALTHCHECK")[0].partition("CMD")[2])[1:]
    return subprocess.run(
        [sys.executable, "-c", script.replace("127.0.0.1:6066", worker.address)], check=False
    ).returncode
