import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from agents.contracts.topic_contracts import CONTRACTS, TopicContract
from schemas.json_schema import RECORDS, SCHEMA_DIRECTORY
from schemas.records import Status
from streams.cluster.topics import TopicSettings, topic_specs

PAGE = Path(__file__).parents[2] / "docs" / "consumers.md"
SENT = [contract for contract in CONTRACTS if contract.action == "send"]
SENT_RECORDS = [contract for contract in SENT if contract.records]


@pytest.fixture(scope="module")
def page() -> str:
    """Read the page."""
    return PAGE.read_text()


def sections(page: str) -> dict[str, str]:
    """Split the page by its headings of the second level."""
    titles_and_texts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True))


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def schema_name(record: object) -> str:
    """Return the published schema of a record type."""
    return next(name for name, struct in RECORDS.items() if struct is record)


def named(contract: TopicContract) -> str:
    """Return a test's case."""
    return str(contract.topic)


@pytest.mark.parametrize("contract", SENT_RECORDS, ids=named)
def test_the_example_of_a_topic_is_a_whole_valid_record(page: str, contract: TopicContract) -> None:
    """Each topic's section shows one record with every field, valid under the published schema that it links."""
    (record,) = contract.records
    section = sections(page)[f"`{contract.topic}`"]
    (example,) = blocks(section, "json")
    published = SCHEMA_DIRECTORY / f"{schema_name(record)}.json"
    jsonschema.Draft202012Validator(msgspec.json.decode(published.read_bytes())).validate(msgspec.json.decode(example))
    msgspec.json.decode(example, type=record)
    assert set(msgspec.json.decode(example)) == {field.encode_name for field in msgspec.structs.fields(record)}
    assert f"[{record.__name__}](../schemas/json/{published.name})" in page


def test_the_erasure_is_a_valid_control_record(page: str) -> None:
    """What the privacy section tells to write is what the worker understands."""
    (example,) = blocks(sections(page)["Privacy"], "json")
    schema = msgspec.json.decode((SCHEMA_DIRECTORY / "control.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(msgspec.json.decode(example))


def test_the_table_says_how_topics_are_created(page: str) -> None:
    """Cleanup and retention of every output are those of `insession topics create`."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    told = {cells[0].strip("`"): (cells[3], cells[4]) for cells in rows if len(cells) == 6}
    specs = {spec.name: spec for spec in topic_specs(TopicSettings())}
    assert set(told) == {contract.topic for contract in SENT}
    for topic, (cleanup, retention) in told.items():
        kept_ms = specs[topic].configs.get("retention.ms")
        days = "for ever" if kept_ms is None else f"{timedelta(milliseconds=int(kept_ms)).days} days"
        assert (cleanup, retention) == (specs[topic].cleanup_policy, days)


def test_every_status_is_explained(page: str) -> None:
    """The table of statuses has a row for each, and none that does not exist."""
    rows = re.findall(r"^\| `(\w+)` \|", sections(page)["`recommendations`"], flags=re.MULTILINE)
    assert sorted(rows) == sorted(get_args(Status))


def test_the_recipe_takes_each_record_once(page: str) -> None:
    """Repeats are told by the highest offset of their input partition, and partitions do not disturb each other."""
    (recipe,) = blocks(sections(page)["How to take each record once"], "python")
    names: dict[str, Any] = {}
    exec(recipe, names)  # noqa: S102 - it is our own page
    is_repeated: Callable[[str, dict[str, int]], bool] = names["is_repeated"]
    highest: dict[str, int] = {}
    ids = ["my-shop-0-4", "my-shop-0-7", "my-shop-1-5", "my-shop-0-4", "my-shop-0-7", "my-shop-0-8", "my-shop-1-5"]
    assert [is_repeated(record_id, highest) for record_id in ids] == [False, False, False, True, True, False, True]


def test_links_lead_to_files(page: str) -> None:
    """Every relative link of the page is a file or one of its own headings."""
    anchors = {
        re.sub(r"[^\w -]", "", title).replace(" ", "-").lower()
        for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (PAGE.parent / target).exists(), target
