"""What a release knows of items that nobody clicked yet."""

from dataclasses import dataclass

from session_model.ranking.cold_items import ColdItems
from session_model.ranking.content import ContentIndex


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The part of a release that knows items by their content."""

    content: ContentIndex
    items: ColdItems
