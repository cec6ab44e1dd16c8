"""Fakes that ship: the record sink of tests, whose acknowledgements the test decides."""

from streams.records import Delivery, OutputRecord


class ListSink:
    """A RecordSink that keeps what it is given, and the delivery of each record for the test to settle.

    refusal: what `send` raises instead of taking a record.
    """

    def __init__(self) -> None:
        self.records: list[OutputRecord] = []
        self.deliveries: list[Delivery] = []
        self.refusal: Exception | None = None

    def send(self, record: OutputRecord) -> Delivery:
        """Keep a record; its delivery hangs until it is settled."""
        if self.refusal is not None:
            raise self.refusal
        self.records.append(record)
        self.deliveries.append(Delivery(record.topic, record.key))
        return self.deliveries[-1]

    def acknowledge_all(self) -> None:
        """Settle every delivery that still hangs."""
        for delivery in self.deliveries:
            delivery.settle()
