import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from schemas.errors import InsessionError
from session_model.distributed.attempt import Attempt, AttemptSettings, WorkerLostError
from session_model.distributed.messages import Message, Stepped
from session_model.distributed.worker import Assignment

CAME = '{"type":"Came","host":"here","pid":1}'
JOINED = '{"type":"Started","phase":"training","n_steps":9}'
FINISHED = '{"type":"Finished","steps":1,"seconds":1,"cpu_seconds":1,"all_steps":2,"sent_bytes":8}'
LOST_OTHERS = '{"type":"Failed","reason":"has lost the connection","has_lost_others":true}'
ALIVE = """while sleep 0.2; do echo '{"type":"Alive"}'; done"""


def say(*lines: str) -> str:
    """Write the messages in a shell."""
    return "".join(f"echo '{line}'\n" for line in lines)


def command_of(*scripts: str) -> Callable[[Assignment], Sequence[str]]:
    """Let a shell play each worker."""
    return lambda assignment: ["/bin/sh", "-c", scripts[assignment.index]]


def run(tmp_path: Path, *scripts: str, start_timeout_seconds: float = 60.0) -> tuple[list[Message], float]:
    """Run the workers to their end; returns what was heard of the chief and what all have sent."""
    heard: list[Message] = []
    settings = AttemptSettings(tmp_path, start_timeout_seconds, 2.0, command_of(*scripts))
    with Attempt(tmp_path / "job", len(scripts), 60.0, settings) as attempt:
        finished = attempt.run(heard.append)
    return heard, sum(one.sent_bytes for one in finished)


def test_what_the_chief_says_is_handed_on(tmp_path: Path) -> None:
    """The others are only waited for."""
    step = '{"type":"Stepped","step":1,"clicks":5}'
    heard, sent = run(tmp_path, say(CAME, JOINED, step, FINISHED) + "cat", say(CAME, JOINED, FINISHED) + "cat")
    assert (heard[2], len(heard), sent) == (Stepped(1, 5), 4, 16.0)


def test_a_killed_worker_is_named(tmp_path: Path) -> None:
    """With its host, its process and the signal; the one that stays is ended."""
    before = set(psutil.Process().children())  # other tests of this process may have theirs, a Spark for all of them
    with pytest.raises(WorkerLostError, match=r"worker 1 on here \(process \d+\) was killed by SIGKILL"):
        run(tmp_path, say(CAME, JOINED) + ALIVE, say(CAME, JOINED) + "kill -9 $$")
    assert set(psutil.Process().children()) <= before


def test_who_lost_another_worker_is_not_the_cause(tmp_path: Path) -> None:
    """The first to complain waits until it is clear who is gone."""
    with pytest.raises(WorkerLostError, match=r"worker 1 on here .* SIGKILL"):
        run(tmp_path, say(CAME, JOINED, LOST_OTHERS), say(CAME, JOINED) + "sleep 0.5; kill -9 $$")


def test_a_lost_connection_without_a_lost_worker_is_told_as_it_is(tmp_path: Path) -> None:
    """All go on and one cannot reach them: it is the one to name."""
    with pytest.raises(WorkerLostError, match=r"worker 0 on here .* has lost the connection"):
        run(tmp_path, say(CAME, JOINED, LOST_OTHERS), say(CAME, JOINED) + ALIVE)


def test_a_worker_that_hangs_is_named(tmp_path: Path) -> None:
    """It is silent, and the others wait for it."""
    with pytest.raises(WorkerLostError, match=r"worker 1 on here .* hangs: nothing was heard"):
        run(tmp_path, say(CAME, JOINED) + ALIVE, say(CAME, JOINED) + "kill -STOP $$")


def test_workers_that_never_come_are_named(tmp_path: Path) -> None:
    """And those that came are not."""
    with pytest.raises(WorkerLostError, match=r"^worker 1 on \S+ \(process \d+\): not there 1 s after the start"):
        run(tmp_path, say(CAME) + ALIVE, "cat", start_timeout_seconds=1.0)
    with pytest.raises(WorkerLostError, match=r"^worker 0 .*, worker 1 .*: there, but did not meet"):
        run(tmp_path, say(CAME) + ALIVE, say(CAME) + ALIVE, start_timeout_seconds=1.0)


def test_a_reason_that_would_come_again_ends_the_training(tmp_path: Path) -> None:
    """A full disk is not mended by a restart."""
    failed = json.dumps({"type": "Failed", "reason": "failed with OSError: no space", "has_lost_others": False})
    with pytest.raises(InsessionError, match=r"worker 0 on here .* no space; its log is .*worker-0.log"):
        run(tmp_path, say(CAME, JOINED, failed), say(CAME, JOINED) + ALIVE)
    with pytest.raises(InsessionError, match=r"worker 0 on .* does not speak as a worker"):
        run(tmp_path, "echo hello", "cat")


PROGRAM = """
import sys
from pathlib import Path
from agents.interruption import Interruption
from session_model.distributed.attempt import Attempt, AttemptSettings
script = "echo '" + '{"type":"Alive"}' + "'; exec sleep 60"
settings = AttemptSettings(Path(sys.argv[1]), 60.0, command=lambda _: ["/bin/sh", "-c", script])
with Interruption(), Attempt(Path("job"), 2, 60.0, settings) as attempt:
    attempt.run(lambda message: print(message, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_its_supervisor(tmp_path: Path, how: signal.Signals) -> None:
    """Whatever ends it, kill -9 among it."""
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        workers = [child for child in psutil.Process(process.pid).children() if child.cmdline()[:1] == ["sleep"]]
        assert workers
        process.send_signal(how)
        process.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert left == []
