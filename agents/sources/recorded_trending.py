"""Lists of the topic `trending` that were kept in a file."""

from pathlib import Path

from msgspec import MsgspecError

from schemas import wire
from schemas.errors import UsageError
from schemas.records import Trending


def read_trending(file: Path) -> list[Trending]:
    """Read one record a line; raises UsageError that names the line that is none."""
    records = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            records.append(wire.decode_trending(line))
        except (MsgspecError, ValueError) as error:
            raise UsageError(
                f"{file}, line {number} is no record of the topic trending ({error}): give its values, one JSON a line"
            ) from error
    return records
