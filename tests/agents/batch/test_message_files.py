from pathlib import Path

import pytest

from agents.batch.message_files import MessageFiles
from schemas.errors import InsessionError
from session_model.distributed.relay import Relay
from session_model.distributed.supervisor import Limits
from session_model.runs.progress import NoProgress

CAME = b'{"type":"Came","host":"node-%d","pid":7}\n'
JOINED = b'{"type":"Started","phase":"training","n_steps":9}\n'
STEPPED = b'{"type":"Stepped","step":%d,"clicks":5}\n'


class Notes(NoProgress):
    """Remembers what is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def noted(self, text: str) -> None:
        """Remember it."""
        self.texts.append(text)


def write(folder: Path, start: int, index: int, *messages: bytes) -> None:
    """Let a worker tell more."""
    with (folder / f"{start}-{index}.jsonl").open("ab") as file:
        file.write(b"".join(messages))


def test_a_new_start_of_the_stage_names_who_was_silent_first(tmp_path: Path) -> None:
    """Only the chief's steps count, and a line that is not whole yet waits for its rest."""
    notes = Notes()
    workers = MessageFiles(tmp_path, relay := Relay(notes), Limits(max_restarts=3))
    for index in range(2):
        write(tmp_path, 0, index, CAME % index, JOINED, STEPPED % 1)
    workers.poll()
    write(tmp_path, 0, 0, STEPPED % 2, b'{"type":"Alive')
    workers.poll()
    assert relay.step == 2
    write(tmp_path, 0, 0, b'"}\n')
    write(tmp_path, 2, 0, CAME % 0, JOINED, STEPPED % 2)
    workers.poll()
    assert notes.texts == [
        "worker 1 on node-1 (process 7) was lost, after step 2; all workers start again (1 of 3)",
        "goes on from step 1",
    ]


def test_a_reason_that_would_come_again_and_workers_that_do_not_meet_end_the_training(tmp_path: Path) -> None:
    """Spark would start the stage again, or wait."""
    apart = MessageFiles(tmp_path, Relay(NoProgress()), Limits(start_timeout_seconds=0.0))
    write(tmp_path, 0, 0, CAME % 0, JOINED)
    write(tmp_path, 0, 1, CAME % 1)
    with pytest.raises(InsessionError, match=r"^worker 1 on node-1 \(process 7\): there, but did not meet"):
        apart.poll()
    write(tmp_path, 0, 1, b'{"type":"Failed","reason":"no space left","has_lost_others":false}\n')
    with pytest.raises(InsessionError, match=r"^worker 1 on node-1 .*: no space left"):
        MessageFiles(tmp_path, Relay(NoProgress()), Limits()).poll()
