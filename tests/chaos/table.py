"""The chaos table: one row a fault, what was counted in it, and whether the promise held.

python -m tests.chaos.table build/chaos.json docs/operations.md    # writes the rows between the document's markers
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

BEGIN = "<!-- chaos table: written by `make chaos-table` -->"
END = "<!-- end of the chaos table -->"
NOT_TRIED = "not tried"
HEADER = (
    "fault",
    "promise",
    "workers",
    "events",
    "answered",
    "lost",
    "twice",
    "states equal",
    "session ends equal",
    "recovery s",
    "passed on",
)


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


def write_rows(path: Path, rows: Iterable[ChaosRow], *, known: Iterable[ChaosRow] = ()) -> None:
    """Write the rows as JSON; those of faults that were not tried this time stay as they were, with their date.

    known: of faults that may never have been tried; these have not passed.
    """
    today = datetime.now(UTC).date().isoformat()
    kept = {row.fault: replace(row, passed=False, reason=NOT_TRIED, date=today) for row in known}
    kept |= {row.fault: row for row in read_rows(path)} if path.exists() else {}
    for row in rows:
        row.date = today
        kept[row.fault] = row
    path.parent.mkdir(parents=True, exist_ok=True)
    builtins = [msgspec.to_builtins(row) for row in kept.values()]
    path.write_text(json.dumps(builtins, indent=2) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[ChaosRow]:
    """Read the rows back."""
    return msgspec.json.decode(path.read_bytes(), type=list[ChaosRow])


def with_rows(document: str, rows: Iterable[ChaosRow]) -> str:
    """Return the document with the rows between its markers; rows of other faults stay, with their date."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = dict(documented(document)) | {row.fault: _cells(row) for row in rows if row.reason != NOT_TRIED}
    table = "\n".join((_line(HEADER), "|---" * len(HEADER) + "|", *(lines[fault] for fault in sorted(lines))))
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def documented(document: str) -> Mapping[str, str]:
    """Return the lines of the document's table by fault."""
    table = document.partition(BEGIN)[2].partition(END)[0]
    return {line[len("| [") : line.index("](")]: line for line in table.splitlines() if line.startswith("| [")}


def _cells(row: ChaosRow) -> str:
    def cells() -> Iterator[object]:
        yield f"[{row.fault}](../{row.test.partition('::')[0]})"
        yield row.promise
        yield row.workers
        yield from (f"{count:,}" for count in (row.events, row.answered, row.lost, row.duplicates))
        yield from ({True: "yes", False: "no", None: "-"}[equal] for equal in (row.state_equal, row.session_ends_equal))
        yield "-" if row.recovery_seconds is None else f"{row.recovery_seconds:.1f}"
        yield row.date if row.passed else f"not on {row.date}: {row.reason}".replace("|", "/")

    return _line(cells())


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main(source: Path, document: Path) -> None:
    """Write the rows of `source` into `document`."""
    text = with_rows(document.read_text(encoding="utf-8"), read_rows(source))
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
