"""What names every event type, topic, tier, status or reason names all of them, where it cannot be derived.

Each list has one home: `EVENT_FACTS`, `TOPICS`, and the literals of schemas/records.py, schemas/validation.py and
serving/errors.py. docs/changing.md says what to do when one grows.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import get_args

import pytest

from agents.contracts.topic_contracts import CONTRACTS
from agents.doctor.field_likeness import EVENT_WORDS
from schemas.events import EVENT_FACTS, EventType
from schemas.records import EndReason, Pattern, Status, Tier
from schemas.validation import IgnoreReason, RejectReason
from serving.errors import REASONS
from session_model.intent.prefix_features import COUNTED_TYPES
from streams.cluster.topics import TOPICS, Topic, TopicSettings, topic_specs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "agents" / "live" / "page"
WITHOUT_INTENT = {"session_end", "identify"}
"""They end what the intent model tells of, or say nothing of it."""


def document(name: str) -> str:
    """Read a document."""
    return (ROOT / "docs" / name).read_text()


def section(name: str, heading: str) -> str:
    """Read one section of a document."""
    return re.split(r"^#+ ", document(name).partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Read the code in the first column of a table."""
    rows = re.findall(r"^\| ([^|]+) \|", text, flags=re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([\w-]+)`", row)}


def test_every_event_type_has_its_facts() -> None:
    """In the order that numbers them in training data."""
    assert tuple(EVENT_FACTS) == get_args(EventType)


def test_every_event_type_is_read_by_the_intent_model_or_known_not_to_be() -> None:
    """A new type would be silently invisible to it."""
    assert {*COUNTED_TYPES} | WITHOUT_INTENT == {*EVENT_FACTS}


def test_the_doctor_knows_words_for_every_event_type() -> None:
    """It proposes the mapping of a shop's own words."""
    assert {*EVENT_WORDS} == {*EVENT_FACTS}


@pytest.mark.parametrize("event_type", get_args(EventType))
def test_every_event_type_is_told_to_shops(event_type: str) -> None:
    """The page on a shop's own records names each."""
    assert re.search(rf"\b{event_type}\b", document("mapping.md"))


def test_every_topic_has_facts_a_layout_and_a_contract() -> None:
    """So that it is created, encoded, replayed, erased and described."""
    assert {*TOPICS} == {*Topic}
    assert {spec.name for spec in topic_specs(TopicSettings())} == {*Topic}
    assert {contract.topic for contract in CONTRACTS} == {*Topic}


@pytest.mark.parametrize("place", ["README.md", "docs/consumers.md", "SECURITY.md"])
@pytest.mark.parametrize("topic", Topic)
def test_every_topic_is_in_the_documents(place: str, topic: Topic) -> None:
    """The way of an event, what readers get, who may do what, and what each could do."""
    assert re.search(rf"(?<![\w-]){topic}(?![\w-])", (ROOT / place).read_text())


def test_the_live_page_knows_every_tier() -> None:
    """In the order of the chain, with a colour each."""
    (told,) = re.findall(r"^const TIERS = \[(.*)\];$", (PAGE / "live.js").read_text(), flags=re.MULTILINE)
    assert tuple(re.findall(r'"(\w+)"', told)) == get_args(Tier)
    style = (PAGE / "live.css").read_text()
    for tier in get_args(Tier):
        assert all(rule in style for rule in (f"--{tier}:", f".t-{tier} {{", f".b-{tier} {{"))


def test_the_live_page_offers_every_pattern() -> None:
    """Sessions are filtered by it."""
    page = (PAGE / "live.html").read_text()
    assert {*get_args(Pattern)} <= {*re.findall(r"<option>(\w+)</option>", page)}


@pytest.mark.parametrize("tier", get_args(Tier))
def test_every_tier_is_told(tier: str) -> None:
    """Concepts list the chain, the glossary and the page for readers name it."""
    assert re.search(rf"^\d\. `{tier}`:", section("concepts.md", "The fallback chain"), flags=re.MULTILINE)
    assert f"`{tier}`" in document("glossary.md")
    assert f"`{tier}`" in document("consumers.md")


@pytest.mark.parametrize("pattern", get_args(Pattern))
def test_every_pattern_is_told(pattern: str) -> None:
    """The glossary has its rule."""
    assert re.search(rf"^  - `{pattern}`:", document("glossary.md"), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (first_cells(section("faq.md", "Why is the tier `popular`, and not `model`?")), REASONS),
        (first_cells(section("consumers.md", "`recommendations`")), get_args(Status)),
        (first_cells(section("consumers.md", "`session-ends`")), get_args(EndReason)),
        (first_cells(section("operations.md", "DeadLetters")), get_args(RejectReason)),
    ],
    ids=["answers", "statuses", "session ends", "dead letters"],
)
def test_the_tables_for_people_have_every_row(told: set[str], known: Collection[str]) -> None:
    """None is missing, and none does not exist."""
    assert told == {*known}


@pytest.mark.parametrize("place", ["concepts.md", "mapping.md", "consumers.md", "operations.md"])
@pytest.mark.parametrize("reason", get_args(IgnoreReason))
def test_every_reason_to_ignore_a_record_is_told(place: str, reason: str) -> None:
    """By its name in the metric."""
    assert f"`{reason}`" in document(place)


@pytest.mark.parametrize(
    ("label", "known"),
    [
        ("tier", {*get_args(Tier), "none"}),
        ("status", {*get_args(Status)}),
        ("source", {"model", "features", "popular", "default"}),
    ],
)
def test_dashboards_and_rules_ask_for_labels_that_exist(label: str, known: set[str]) -> None:
    """A query for what nobody counts shows nothing, and never fires."""
    sources = [*(ROOT / "compose").rglob("*.py"), *(ROOT / "compose" / "prometheus").rglob("*.yml")]
    asked = {
        value
        for source in sources
        for values in re.findall(rf'\b{label}(?:=|!=|=~|!~)\\?"([\w|]+)\\?"', source.read_text())
        for value in values.split("|")
    }
    assert asked <= known
