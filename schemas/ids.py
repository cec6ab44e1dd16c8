"""Identifier types. Mixing `ItemId` (the shop's string) with `ItemIndex` (the model's integer) is the likeliest bug."""

from typing import Final, NewType

VisitorId = NewType("VisitorId", str)
SessionId = NewType("SessionId", str)
EventId = NewType("EventId", str)
ItemId = NewType("ItemId", str)
ItemIndex = NewType("ItemIndex", int)
"""Position in a release's vocabulary, 1-based: 0 is padding and never an item."""
ModelVersion = NewType("ModelVersion", int)
RuleId = NewType("RuleId", str)

MAX_ID_BYTES: Final = 128
"""Of an id or label that a stranger can send, in UTF-8: in bytes, since state and topics are sized in bytes."""


def utf8_bytes(text: str) -> int:
    """Count the bytes of `text` in UTF-8; half a surrogate pair counts as the three that stand for it nowhere."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
