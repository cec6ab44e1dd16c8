"""Records of our own topics from files of lines, as `agents.sources` copies them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from session_model.data.files import data_files
from session_model.data.text_lines import MalformedLines, read_lines

_Record = TypeVar("_Record", bound=msgspec.Struct)


def read_records(path: Path, kind: type[_Record]) -> Iterator[_Record]:
    """Read one JSON a line, of a file, a folder or a glob; a malformed line is left out, counted and named.

    Raises UsageError where there is no file, and InsessionError where too much cannot be read.
    """
    decode = msgspec.json.Decoder(kind).decode
    for file in data_files(path):
        malformed = MalformedLines(file)
        for number, line in read_lines(malformed):
            try:
                record = decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                malformed.add(number, str(error))
                continue
            yield record
        malformed.settle()
