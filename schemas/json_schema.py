"""The published JSON Schemas, generated from the structs: `python -m schemas.json_schema` writes `schemas/json/`."""

from collections.abc import Iterable
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import ClickEvent
from schemas.handovers import Control
from schemas.records import (
    CatalogItem,
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    SessionSummary,
    Trending,
    VisitorRecommendations,
)
from schemas.rules import MerchantRule

SCHEMA_DIRECTORY = Path(__file__).parent / "json"
RECORDS: dict[str, Any] = {
    "catalog-item": CatalogItem,
    "click-event": ClickEvent,
    "control": Control,
    "default-recommendations": DefaultRecommendations,
    "intent-signal": IntentSignal,
    "merchant-rule": MerchantRule,
    "recommendation-outcome": RecommendationOutcome,
    "recommendation-set": RecommendationSet,
    "session-summary": SessionSummary,
    "trending": Trending,
    "visitor-recommendations": VisitorRecommendations,
}


def schema_components(records: Iterable[Any], ref_template: str) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Do what msgspec does, with descriptions as Python 3.13 compiles docstrings: without their indentation."""
    roots, definitions = msgspec.json.schema_components(records, ref_template=ref_template)
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return roots, definitions


def generate(name: str) -> bytes:
    """Return the JSON Schema (2020-12) of the record called `name` as indented JSON."""
    (root,), definitions = schema_components([RECORDS[name]], "#/$defs/{name}")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"


if __name__ == "__main__":
    SCHEMA_DIRECTORY.mkdir(exist_ok=True)
    for record_name in RECORDS:
        (SCHEMA_DIRECTORY / f"{record_name}.json").write_bytes(generate(record_name))
