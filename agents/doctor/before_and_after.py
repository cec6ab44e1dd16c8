"""Records of a sample beside what a mapping makes of them: a few, of every kind that there is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agents.doctor.mapping_trial import Decode, as_rekeyed, reader_of
from schemas.click_reader import Clicks
from schemas.events import ClickEvent, from_unix_ms
from schemas.mapping import FieldMapping
from schemas.payload import decode_payload
from schemas.validation import Ignored, Rejection
from streams.records import InputRecord

_SHOWN_CLICKS: Final = 5
_SHOWN_FIELDS: Final = ("price", "quantity", "query", "session_id", "location", "device", "consent", "experiment")


@dataclass(frozen=True, slots=True)
class Shown:
    """One record as it is, and a line for each thing that it becomes; nothing of it is fit for a terminal yet."""

    key: bytes | None
    value: bytes | None
    becomes: tuple[str, ...]


def before_and_after(
    records: Iterable[InputRecord], mapping: FieldMapping, at_most: int, decode: Decode = decode_payload
) -> list[Shown]:
    """Read records as behind `insession rekey`, and show some of each outcome in turn, in their order."""
    reader = reader_of(mapping, decode)
    by_kind: dict[str, list[tuple[int, Shown]]] = {}
    for number, record in enumerate(records):
        outcomes = list(as_rekeyed(reader, record))
        of_kind = by_kind.setdefault(_kind(outcomes[0]), [])
        if len(of_kind) < at_most:
            lines = tuple(line for outcome in outcomes for line in _lines(outcome))
            of_kind.append((number, Shown(record.key, record.value, lines)))
    turns = [(turn, number, shown) for kind in by_kind.values() for turn, (number, shown) in enumerate(kind)]
    first = sorted(turns, key=lambda one: one[:2])[:at_most]
    return [shown for _, _, shown in sorted(first, key=lambda one: one[1])]


def _kind(outcome: Clicks | Ignored | Rejection) -> str:
    return outcome.events[0].event_type if isinstance(outcome, Clicks) else f"{type(outcome).__name__} {outcome.reason}"


def _lines(outcome: Clicks | Ignored | Rejection) -> list[str]:
    if isinstance(outcome, Clicks):
        lines = [_click(click) for click in outcome.events[:_SHOWN_CLICKS]]
        more = len(outcome.events) - _SHOWN_CLICKS
        lines += [f"and {more:,} more"] if more > 0 else []
        return [*lines, *(f"{repair.field}: {repair.reason}" for repair in outcome.repairs[:_SHOWN_CLICKS])]
    name = "ignored" if isinstance(outcome, Ignored) else "refused"
    return [f"{name}, {outcome.reason}: {outcome.detail}"]


def _click(click: ClickEvent) -> str:
    moment = from_unix_ms(click.event_time_ms).isoformat(timespec="seconds")
    fields = [f"{name} {value}" for name in _SHOWN_FIELDS if (value := getattr(click, name)) is not None]
    item = "" if click.item_id is None else f" {click.item_id}"
    return ", ".join([f"{click.event_type}{item} by {click.visitor_id} at {moment}", *fields])
