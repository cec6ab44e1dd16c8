"""Identifier types. Mixing `ItemId` (the shop's string) with `ItemIndex` (the model's integer) is the likeliest bug."""

from typing import NewType

VisitorId = NewType("VisitorId", str)
SessionId = NewType("SessionId", str)
EventId = NewType("EventId", str)
ItemId = NewType("ItemId", str)
ItemIndex = NewType("ItemIndex", int)
"""Position in a release's vocabulary, 1-based: 0 is padding and never an item."""
ModelVersion = NewType("ModelVersion", int)
