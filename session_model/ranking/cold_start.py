"""What a release knows of items that nobody clicked yet."""

from dataclasses import dataclass

from session_model.ranking.cold_items import ColdItems
from session_model.ranking.content import ContentIndex
from session_model.ranking.item_vectors import ItemVectors


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The part of a release that knows items by their content; vectors: None where training was given none."""

    content: ContentIndex
    items: ColdItems
    vectors: ItemVectors | None = None
