"""W3C Trace Context on Kafka headers: read strictly, handed on with a span id that a replay gives again.

Source: https://www.w3.org/TR/trace-context-2/
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Literal, Protocol

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
PREDICT: Final = "predict"
"""The span of a call to the model server."""

SpanKind = Literal["INTERNAL", "CLIENT", "CONSUMER", "PRODUCER"]

_SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03  # sampled, random trace id; what a later version may define is not handed on
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_STATE_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_STATE_MEMBERS: Final = 32
_MAX_STATE_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of a trace. trace_id: 32 lower-case hex digits; span_id: 16; flags: bit 0 = sampled."""

    trace_id: str
    span_id: str
    flags: int
    tracestate: str | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether the caller recorded its span."""
        return bool(self.flags & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """Spell it as the header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self, name: str) -> "TraceContext":
        """Return the span called `name` below this one; the same name gives the same span id."""
        return replace(self, span_id=_digest(f"{self.trace_id}{self.span_id}{name}", n_bytes=8))

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers that hand this span on."""
        headers = [(TRACEPARENT, self.traceparent.encode())]
        if self.tracestate is not None:
            headers.append((TRACESTATE, self.tracestate.encode()))
        return headers


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A finished span, in Unix nanoseconds. parent_id: None = the trace begins here."""

    name: str
    context: TraceContext
    parent_id: str | None
    start_ns: int
    end_ns: int
    kind: SpanKind = "INTERNAL"
    links: tuple[TraceContext, ...] = ()
    attributes: tuple[tuple[str, str | int], ...] = ()
    error: str | None = None


class SpanRecorder(Protocol):
    """Where finished spans go."""

    def record(self, span: SpanRecord) -> None:
        """Take a span; must neither wait nor raise."""


def root_context(seed: str, *, is_sampled: bool) -> TraceContext:
    """Begin a trace; the same seed begins the same one."""
    return TraceContext(_digest(seed, n_bytes=16), _digest(f"{seed}:span", n_bytes=8), int(is_sampled))


def leading(traces: Sequence[TraceContext]) -> TraceContext | None:
    """Return the one of many traces that a call for all of them goes on in: the first sampled one, else the first."""
    return next((trace for trace in traces if trace.is_sampled), traces[0] if traces else None)


def read_trace(headers: Iterable[tuple[str, bytes]]) -> tuple[TraceContext | None, frozenset[str]]:
    """Read the caller's span, and name the headers that are malformed and therefore ignored.

    A malformed `tracestate` leaves the `traceparent` in force; without that one there is no trace at all.
    """
    found: dict[str, list[bytes]] = {TRACEPARENT: [], TRACESTATE: []}
    for name, value in headers:
        if name in found:
            found[name].append(value)
    if not found[TRACEPARENT]:
        return None, frozenset()
    context = _parse_traceparent(found[TRACEPARENT])
    if context is None:
        return None, frozenset({TRACEPARENT})
    if not found[TRACESTATE]:
        return context, frozenset()
    state = _parse_tracestate(b",".join(found[TRACESTATE]))
    malformed = frozenset({TRACESTATE}) if state is None else frozenset[str]()
    return replace(context, tracestate=state or None), malformed


def _parse_traceparent(values: list[bytes]) -> TraceContext | None:
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & _KNOWN_FLAGS)


def _parse_tracestate(value: bytes) -> str | None:
    """Return it unchanged; None = malformed."""
    if len(value) > _MAX_STATE_BYTES or not value.isascii():
        return None
    text = value.decode("ascii")
    members = [member.strip(" \t") for member in text.split(",")]
    matches = [_STATE_MEMBER.fullmatch(member) for member in members if member]
    keys = {match[1] for match in matches if match is not None}
    return text if len(keys) == len(matches) <= _MAX_STATE_MEMBERS else None


def _digest(text: str, *, n_bytes: int) -> str:
    return blake2b(text.encode(), digest_size=n_bytes).hexdigest()
