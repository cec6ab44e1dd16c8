"""Walks through the documents: their `sh` blocks are run in order, each document's in a folder of its own, on Kafka."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.settings import Settings
from schemas.free_ports import free_port
from streams.cluster.topic_creation import create
from streams.cluster.topics import TopicSettings, admin_client, topic_specs
from tests.docs.documents import ROOT, Block, blocks, documents

NOT_RUN = {
    "make demo": "sets up an environment and takes minutes; tests/agents/demo runs the demo",
    "docker compose --file compose/compose.yaml up --build --detach": "there is no container engine",
    "docker compose --file compose/compose.yaml run --rm simulate": "there is no container engine",
    'CLICKS="$(ls "$PWD"/demo-run/training/shop-*.jsonl.gz)" \\': "there is no container engine",
    "docker compose --file compose/compose.yaml down": "there is no container engine",
    "pip install .": "`make wheel` installs, by the lines of compose/Dockerfile",
    "insession train clicks.jsonl.gz --format jsonl --out models": "trains; tests/agents/commands/test_train.py does",
    "insession replay clicks.jsonl.gz --format jsonl --models models --out replayed": "tests/agents/test_replay.py",
}
"""Blocks that are parsed only (test_commands.py), by their first line, and why."""
MAY_FIND_FAULTS = {"insession doctor --brokers 127.0.0.1:9092"}
"""Blocks whose exit code 1 is an answer, too: a model server is not part of the walk."""
SHELL_BLOCKS = {document: [block for block in blocks(document) if block.is_shell] for document in documents()}
WALKED = [document for document, found in SHELL_BLOCKS.items() if found]
BLOCK_SECONDS = 180.0
"""For what takes seconds on an idle machine."""
STOP_SECONDS = 60.0


class Walk:
    """Runs blocks as they stand, but for the addresses, which are those of the test."""

    def __init__(self, folder: Path, brokers: str, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._places = {"127.0.0.1:9092": brokers, "127.0.0.1:6066": f"127.0.0.1:{free_port()}"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
        self._environment = inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "INSESSION_KAFKA__WEB_PORT": self._places["127.0.0.1:6066"].partition(":")[2],
            "INSESSION_TOPICS__REPLICATION": "1",  # what a document leaves away for a cluster
        }

    def run(self, block: Block) -> None:
        """Run a block to its end, or start it in a terminal of its own."""
        process = self._started(block)
        if block.has_own_terminal:
            self._stack.callback(self._stop, process, block)
            return
        try:
            output, _ = process.communicate(timeout=BLOCK_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"{block} did not end within {BLOCK_SECONDS} s:\n{block.text}\n{output}")
        allowed = {0, 1} if block.first_line in MAY_FIND_FAULTS else {0}
        assert process.returncode in allowed, f"{block}:\n{block.text}\n{output}"

    def _started(self, block: Block) -> "subprocess.Popen[str]":
        script = block.text
        for told, real in self._places.items():
            script = script.replace(told, real)
        shell = ["bash", "-euo", "pipefail", "-c", script]
        with (self._folder / "terminal.log").open("ab") as log:
            return subprocess.Popen(
                shell,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log if block.has_own_terminal else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _stop(self, process: "subprocess.Popen[str]", block: Block) -> None:
        os.killpg(process.pid, signal.SIGTERM)
        said = (self._folder / "terminal.log").read_text
        assert process.wait(STOP_SECONDS) == 0, f"{block}: {said()[-3000:]}"


@pytest.fixture(scope="module")
def brokers(kafka_brokers: str) -> Iterator[str]:
    """Yield brokers that have the topics by the names that the documents tell; they go at the end."""
    admin = admin_client({"bootstrap.servers": kafka_brokers})
    specs = topic_specs(TopicSettings(replication=1, min_insync_replicas=1))
    if admin.list_topics(timeout=15).topics.keys() & {spec.name for spec in specs}:
        pytest.skip(f"{kafka_brokers} has topics of these names, which are not the test's to write to")
    create(admin, specs)
    yield kafka_brokers
    group = Settings().kafka.group
    ours = {spec.name for spec in specs}
    left = [name for name in admin.list_topics(timeout=15).topics if name in ours or name.startswith(f"{group}-")]
    for future in admin.delete_topics(left).values():
        future.result()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", WALKED, ids=lambda document: str(document.relative_to(ROOT)))
def test_the_blocks_of_a_document_work_in_order(document: Path, brokers: str, tmp_path: Path) -> None:
    """Whoever follows the document from the top sees every command end well."""
    (tmp_path / "compose").mkdir()
    with ExitStack() as stack:
        walk = Walk(tmp_path, brokers, stack)
        for block in SHELL_BLOCKS[document]:
            if block.first_line not in NOT_RUN:
                walk.run(block)


def test_what_is_not_run_is_told() -> None:
    """Each exception is a block that exists."""
    told = {block.first_line for found in SHELL_BLOCKS.values() for block in found}
    assert set(NOT_RUN) | MAY_FIND_FAULTS <= told
