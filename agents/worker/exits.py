"""Every way in which a worker ends: exit code, last line, and what to do; the table of docs/operations.md.

Each row is held by a test that makes the cause: tests/agents/worker/test_exits.py, and tests/kafka/test_exits.py where
it takes a broker. `python -m agents.worker.exits` prints the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streams.delivery.endings import ENDINGS, UNEXPECTED, Ending

_NO_LINE: Final = "none"


@dataclass(frozen=True, slots=True)
class Exit:
    """One way out. code: negative = killed by that signal, 128 + n in a shell. last_words: a part of the last line."""

    cause: str
    code: int
    last_words: str
    remedy: str


def _of(ending: Ending) -> Exit:
    return Exit(ending.cause, 1, ending.meaning or "what the operating system says", ending.remedy)


EXITS: Final[tuple[Exit, ...]] = (
    Exit("SIGTERM, SIGINT or SIGHUP", 0, _NO_LINE, "nothing: what was taken in is answered and committed"),
    Exit(
        "SIGKILL, as by the kernel's OOM killer",
        -9,
        _NO_LINE,
        "look at the kernel's log and the memory limit; unacknowledged clicks are answered after the restart",
    ),
    Exit(
        "a crash in native code",
        -11,
        "Fatal Python error",
        "a bug, or a file under a memory map that was overwritten: report it with the stack above that line",
    ),
    Exit(
        "a setting that cannot work", 2, "found", "set it as the line says; `insession config check` tells all at once"
    ),
    Exit("an option that there is not", 2, "No such option", "see `insession worker --help`"),
    Exit(
        "brokers that do not answer at the start",
        1,
        "The brokers did not answer",
        "as the line says: address, protocol",
    ),
    Exit("topics that are missing or different", 1, "the topics are not what the worker expects", "as each line says"),
    Exit(
        "a topic that takes less than a worker writes",
        1,
        "takes records of at most",
        "the command in the line raises max.message.bytes",
    ),
    Exit(
        "a changelog that is not the one of the commits",
        1,
        "every visitor who is not in it would begin anew",
        "restore it; or `insession state accept`",
    ),
    Exit(
        "a second worker on one data folder",
        1,
        "is in use by another worker",
        "give every worker a kafka.datadir of its own; the first goes on",
    ),
    Exit(
        "a data folder on a file system without locks",
        1,
        "is on a file system without locks",
        "put kafka.datadir on a local disk; it is only a copy of the changelog",
    ),
    Exit(
        "two workers with one kafka.instance_id",
        1,
        "another worker with kafka.instance_id",
        "give every worker an id of its own; the one that came last goes on",
    ),
    Exit(
        "a worker that was paused, or cut off from the group",
        1,
        "the group has",
        "start it again: others have its partitions, nothing stale was written; see why it stood still",
    ),
    Exit(
        "two workers that write to one changelog partition",
        1,
        "another worker wrote while this one took",
        "start it again: it reads what the other wrote first; if it comes back, look for equal kafka.instance_id",
    ),
    Exit(
        "a state to write in a partition that has gone to another worker",
        1,
        "this worker has not, or not any more",
        "start it again: the worker that has the partition answers the click",
    ),
    Exit(
        "a damaged block in the local state",
        1,
        "moves this copy aside and recovers",
        "start again: it heals; if it comes back, look at the disk",
    ),
    Exit("a state of a newer version", 1, "run the version that wrote it", "run that version; its states are kept"),
    Exit(
        "many states that cannot be decoded",
        1,
        "that were looked at cannot be decoded",
        "restore the changelog, or run the version that wrote it; nothing was dropped",
    ),
    Exit(
        "a record that is not acknowledged in time",
        1,
        "took no record",
        "see the brokers; the line names topic and key, the click is answered after the restart",
    ),
    Exit(
        "a start or rebalance that stands still",
        1,
        "no progress for",
        "see the brokers and the step that the line names; start again",
    ),
    *(_of(ending) for ending in ENDINGS),
    Exit("anything else", 1, "unexpected", UNEXPECTED),
)


def table() -> Iterator[str]:
    """Return the lines of the table, in Markdown."""
    yield "| cause | exit code | the last line | what to do |"
    yield "|---|---|---|---|"
    for row in EXITS:
        line = row.last_words if row.last_words == _NO_LINE else f"`{row.last_words}`"
        yield f"| {row.cause} | {row.code} | {line} | {row.remedy} |"


if __name__ == "__main__":
    print("\n".join(table()))  # noqa: T201 - the document's lines
