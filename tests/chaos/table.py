"""The chaos table: one row a fault, what was counted in it, and whether the promise held.

python -m tests.chaos.table build/chaos.json docs/operations.md    # writes the rows between the document's markers
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

BEGIN = "<!-- chaos table: written by `make chaos-table` -->"
END = "<!-- end of the chaos table -->"


class ChaosRow(Struct):
    """What one fault did.

    events: input records. answered: those with an answer or a dead letter. duplicates: records beyond the first of an
    id. state_equal, session_ends_equal: as an undisturbed run's; None where nothing could be compared.
    recovery_seconds: from the end of the fault until all that waited was answered and committed, on a shared machine.
    reason: why it has not passed.
    """

    fault: str
    promise: str
    test: str
    workers: int = 1
    events: int = 0
    answered: int = 0
    lost: int = 0
    duplicates: int = 0
    state_equal: bool | None = None
    session_ends_equal: bool | None = None
    recovery_seconds: float | None = None
    passed: bool = False
    reason: str | None = None
    date: str = ""


def write_rows(path: Path, rows: Iterable[ChaosRow]) -> None:
    """Write the rows as JSON; those of faults that were not tried this time stay as they were."""
    kept = {row.fault: row for row in read_rows(path)} if path.exists() else {}
    today = datetime.now(UTC).date().isoformat()
    for row in rows:
        row.date = today
        kept[row.fault] = row
    path.parent.mkdir(parents=True, exist_ok=True)
    builtins = [msgspec.to_builtins(row) for row in kept.values()]
    path.write_text(json.dumps(builtins, indent=2) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[ChaosRow]:
    """Read the rows back."""
    return msgspec.json.decode(path.read_bytes(), type=list[ChaosRow])


def as_markdown(rows: Sequence[ChaosRow]) -> str:
    """Lay the rows out as a table of a document."""
    columns = (
        "fault",
        "promise",
        "workers",
        "events",
        "answered",
        "lost",
        "twice",
        "states equal",
        "session ends equal",
    )
    lines = [_line((*columns, "recovery s", "passed")), "|---" * (len(columns) + 2) + "|"]
    return "\n".join((*lines, *map(_cells, rows)))


def _cells(row: ChaosRow) -> str:
    fault = f"[{row.fault}](../{row.test.partition('::')[0]})"
    counts = (row.workers, f"{row.events:,}", f"{row.answered:,}", row.lost, f"{row.duplicates:,}")
    equal = (_yes(row.state_equal), _yes(row.session_ends_equal))
    recovery = "" if row.recovery_seconds is None else f"{row.recovery_seconds:.1f}"
    return _line((fault, row.promise, *counts, *equal, recovery, row.date if row.passed else f"no: {row.reason}"))


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def written_into(document: str, table: str) -> str:
    """Give the document with `table` between its markers."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[value]


def main(source: Path, document: Path) -> None:
    """Write the table of `source` into `document`."""
    text = written_into(document.read_text(encoding="utf-8"), as_markdown(read_rows(source)))
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
