"""Every row of the table of exits that takes no broker of its own, by making its cause."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from agents import cli
from agents.worker.exits import EXITS, Exit, table
from schemas.free_ports import free_port
from streams.cluster.topics import Topic, TopicSettings
from streams.delivery.endings import ENDINGS
from streams.local.embedded_broker import EmbeddedBrokerProcess
from tests.builders.clicks import click
from tests.kafka.test_exits import ON_KAFKA

PATIENCE_SECONDS = 120
ROWS = {row.cause: row for row in EXITS}
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Run the embedded broker."""
    with EmbeddedBrokerProcess() as broker:
        yield broker.address


@pytest.fixture
def start(brokers: str, tmp_path: Path) -> Iterator[Started]:
    """Start the real command; `patch` is run in its process before, and stands for a fault of a library or of ours."""
    processes: list[subprocess.Popen[str]] = []

    def started(
        *options: str, patch: str = "", before: Callable[[], None] | None = None, **settings: str
    ) -> "subprocess.Popen[str]":
        defaults = [f"--brokers={brokers}", f"--datadir={tmp_path / 'data'}", f"--web-port={free_port()}"]
        heard = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # under nohup it is inherited as ignored
        code = f"import sys\n{heard}\n{patch}\nfrom agents.cli import main\nmain()"
        environment = {
            "INSESSION_TOPICS__PREFIX": tmp_path.name,
            "INSESSION_TOPICS__PARTITIONS": "4",
            "INSESSION_TOPICS__REPLICATION": "1",
            "INSESSION_KAFKA__IS_MOCK_BROKER": "true",
            "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
            "INSESSION_CATALOG__START_TIMEOUT": "0.1",
            **settings,
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code, "worker", *defaults, *options],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=before,  # noqa: PLW1509 - a limit of the process
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def assert_ended(process: "subprocess.Popen[str]", row: Exit) -> str:
    """Check code and last line; gives the line."""
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == row.code, told[-2000:]
    last = told.splitlines()[-1]
    if row.code > 0:
        assert last.startswith(("insession: ", "Error: "))
        assert "Traceback" not in last
    return last


def limit_open_files() -> None:
    """Leave the worker too few."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def test_the_document_has_the_table() -> None:
    """`python -m agents.worker.exits` prints what docs/operations.md holds."""
    text = Path("docs/operations.md").read_text()
    assert "\n".join(table()) in text


def test_every_row_has_a_test() -> None:
    """A way out that nobody has tried is not in the table."""
    tried = set(IN_A_PROCESS) | set(AS_A_COMMAND) | set(BY_SIGNAL) | set(ON_KAFKA)
    assert tried == set(ROWS)


BY_SIGNAL = {
    "SIGTERM, SIGINT or SIGHUP": (signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    "SIGKILL, as by the kernel's OOM killer": (signal.SIGKILL,),
    "a crash in native code": (signal.SIGSEGV,),
}


@pytest.mark.parametrize(("cause", "number"), [(cause, one) for cause, all_of in BY_SIGNAL.items() for one in all_of])
def test_a_signal_ends_a_worker(start: Started, cause: str, number: signal.Signals) -> None:
    """In order, at once, or with the stack of the crash."""
    process = start()
    assert process.stderr is not None
    for line in process.stderr:
        if "catalog_incomplete" in line:
            break
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ROWS[cause].code, told
    assert "insession: " not in told
    assert (ROWS[cause].last_words in told) or ROWS[cause].last_words == "none"


@pytest.mark.parametrize("number", BY_SIGNAL["SIGTERM, SIGINT or SIGHUP"])
def test_a_signal_ends_a_worker_that_has_not_begun(start: Started, number: signal.Signals) -> None:
    """Nothing was taken in; the exit code is that of every end by a signal."""
    process = start(
        patch=f"import os, agents.worker.root as w\nw.build_worker = lambda *_: os.kill(os.getpid(), {number.value})"
    )
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, "insession: " in told, "Traceback" in told) == (0, False, False), told


def test_sigusr2_brings_up_no_debugger(start: Started) -> None:
    """Faust would wait in it for ever, or end at the first read of a standard input that is closed."""
    process = start()
    assert process.stderr is not None
    for line in process.stderr:
        if "catalog_incomplete" in line:
            break
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, "debugger" in told) == (0, False)


def _port_taken(start: Started) -> "subprocess.Popen[str]":
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))  # noqa: S104 - wherever the worker listens
        held.listen()
        process = start(f"--web-port={held.getsockname()[1]}")
        process.wait(PATIENCE_SECONDS)
        return process


def _folder_taken(start: Started) -> "subprocess.Popen[str]":
    first = start()
    assert first.stderr is not None
    for line in first.stderr:
        if "catalog_incomplete" in line:
            break
    return start()


CONTESTED = """
from streams.state.table import StateTable
real = StateTable._next_ownership
def too_late(table, partition, read_to):
    ownership = real(table, partition, read_to)
    ownership.next_offset -= 1
    return ownership
StateTable._next_ownership = too_late
"""


NO_LOCKS = """
import errno, fcntl, os
def refuse(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = refuse
"""


UNCLAIMED = """
from streams.state.table import StateTable
async def claim_nothing(*_):
    return set()
StateTable.claim = claim_nothing
"""


def _clicked_unclaimed(start: Started) -> "subprocess.Popen[str]":
    topics = TopicSettings(prefix="unclaimed")
    process = start(patch=UNCLAIMED, INSESSION_TOPICS__PREFIX=topics.prefix)
    assert isinstance(process.args, list)
    (brokers,) = (option.removeprefix("--brokers=") for option in process.args if option.startswith("--brokers="))
    producer = Producer({"bootstrap.servers": brokers})
    record = click("v")
    producer.produce(topics.name(Topic.CLICKSTREAM), record.value, record.key)
    producer.flush()
    return process


STUCK = """
import asyncio
from contextlib import asynccontextmanager
import agents.worker.root as w
@asynccontextmanager
async def stuck(*_):
    await asyncio.Event().wait()
    yield
w.checked_inputs = stuck
"""


EXHAUSTED = """
import agents.worker.root as w
held = []
async def hold(*_, **__):
    while True:
        held.append(open('/dev/null'))
w.send_ticks = hold
"""


IN_A_PROCESS: dict[str, Callable[[Started], "subprocess.Popen[str]"]] = {
    "a setting that cannot work": lambda start: start(INSESSION_KAFKA__COMMIT_INTERVAL="0"),
    "an option that there is not": lambda start: start("--no-such-option"),
    "brokers that do not answer at the start": lambda start: start(
        "--brokers=127.0.0.1:1", INSESSION_KAFKA__IS_MOCK_BROKER="false"
    ),
    "no more file handles": lambda start: start(before=limit_open_files, patch=EXHAUSTED),
    "the port is taken": _port_taken,
    "a second worker on one data folder": _folder_taken,
    "a data folder on a file system without locks": lambda start: start(patch=NO_LOCKS),
    "two workers that write to one changelog partition": lambda start: start(patch=CONTESTED),
    "a state to write in a partition that has gone to another worker": _clicked_unclaimed,
    "a wrong folder": lambda start: start("--datadir=/dev/null/data"),
    "a start or rebalance that stands still": lambda start: start(
        patch=STUCK,
        INSESSION_CLICKSTREAM__FRESHNESS_BUDGET="0.1",
        INSESSION_REGISTRY__PATIENCE="0.1",
        INSESSION_KAFKA__SESSION_TIMEOUT="1",
        INSESSION_KAFKA__SEND_TIMEOUT="0.2",
        INSESSION_KAFKA__REBALANCE_TIMEOUT="0.5",
        INSESSION_KAFKA__STALL_TIMEOUT="1.6",
    ),
    "anything else": lambda start: start(
        patch="import agents.worker.root as w\nasync def odd(*_, **__): raise ValueError('odd')\nw.send_ticks = odd"
    ),
}


@pytest.mark.parametrize("cause", IN_A_PROCESS)
def test_a_process_ends_as_the_table_says(start: Started, cause: str) -> None:
    """The cause is real."""
    row = ROWS[cause]
    last = assert_ended(IN_A_PROCESS[cause](start), row)
    assert row.last_words in last or row.last_words == "what the operating system says"
    if cause in {ending.cause for ending in ENDINGS}:
        assert last.endswith(row.remedy)


AS_A_COMMAND = {ending.cause: ending for ending in ENDINGS if ending.cause not in {*IN_A_PROCESS, *ON_KAFKA}}
"""Errors of the client and of the machine that are raised here."""


@pytest.mark.parametrize("cause", AS_A_COMMAND)
def test_the_command_ends_as_the_table_says(
    cause: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whatever class or number stands for the cause: one line, without a traceback."""
    ending = AS_A_COMMAND[cause]
    raised: list[BaseException] = [OSError(number, os.strerror(number), "/path") for number in ending.numbers]
    raised += [kind.__new__(kind) for kind in ending.errors]
    for error in raised:

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("agents.worker.root.build_worker", fail)
        monkeypatch.setattr("faulthandler.enable", lambda: None)
        monkeypatch.setattr("agents.logs.configure_logs", lambda _level: None)  # it would be that of all later tests
        monkeypatch.setattr(sys, "argv", ["insession", "worker", f"--datadir={tmp_path}"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == ROWS[cause].code
        assert told.splitlines()[-1].startswith("insession: ")
        assert told.rstrip().endswith(ending.remedy)
        assert "Traceback" not in told
