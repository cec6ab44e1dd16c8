"""Fakes that ship: the record sink of tests, whose acknowledgements the test decides."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from streams.records import OutputRecord


class ListSink:
    """A RecordSink that keeps what it is given, and the acknowledgement of each record for the test to settle.

    refusal: what `send` raises instead of taking a record.
    """

    def __init__(self) -> None:
        self.records: list[OutputRecord] = []
        self.acknowledgements: list[asyncio.Future[None]] = []
        self.refusal: Exception | None = None

    async def send(self, record: OutputRecord) -> Awaitable[Any]:
        """Keep a record; its acknowledgement hangs until it is settled."""
        if self.refusal is not None:
            raise self.refusal
        self.records.append(record)
        self.acknowledgements.append(asyncio.get_running_loop().create_future())
        return self.acknowledgements[-1]

    def acknowledge_all(self) -> None:
        """Settle every acknowledgement that still hangs."""
        for acknowledgement in self.acknowledgements:
            if not acknowledgement.done():
                acknowledgement.set_result(None)
