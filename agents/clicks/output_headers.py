"""The headers of output records: W3C Trace Context, and CloudEvents 1.0 in Kafka's binary content mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from streams.cluster.topics import Topic
from streams.records import InputRecord

CloudEventsMode = Literal["carried", "always"]
SPEC_VERSION_HEADER: Final = "ce_specversion"
_SPEC_VERSION: Final = b"1.0"


@dataclass(frozen=True, slots=True)
class OutputHeaders:
    """Makes the headers of whatever one input causes; equal inputs give equal headers.

    cloud_events: `carried` = outputs of a CloudEvent are CloudEvents; `always` = all are.
    source: the `ce_source` of all outputs.
    content_type: what their values are.
    """

    cloud_events: CloudEventsMode = "carried"
    source: str = "insession"
    content_type: str = "application/json"

    def of(
        self, record: InputRecord | None, topic: Topic, output_id: str, event_time: datetime
    ) -> list[tuple[str, bytes]]:
        """Return an output's headers; `record`: the input that caused it, None = a tick."""
        if record is not None and not record.headers and record.trace is None and self.cloud_events == "carried":
            return []
        headers = [] if record is None or record.trace is None else record.trace.headers()
        if self.cloud_events == "always" or (record is not None and _is_cloud_event(record)):
            headers += [
                (SPEC_VERSION_HEADER, _SPEC_VERSION),
                ("ce_id", output_id.encode()),
                ("ce_source", self.source.encode()),
                ("ce_type", event_type(topic).encode()),
                ("ce_time", event_time.isoformat().replace("+00:00", "Z").encode()),
                ("content-type", self.content_type.encode()),
            ]
        return headers


def event_type(topic: Topic) -> str:
    """Return the `ce_type` of a topic's records, as in `insession.intent-signal.v1`."""
    return f"insession.{topic.removesuffix('s')}.v1"


def _is_cloud_event(record: InputRecord) -> bool:
    return any(name == SPEC_VERSION_HEADER for name, _ in record.headers)
