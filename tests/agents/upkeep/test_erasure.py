"""`insession erase` on topics in memory, with an owner that erases as workers do; on a real broker: tests/kafka."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from agents.commands import erase
from agents.settings import Settings
from agents.upkeep import erasure
from schemas import wire
from schemas.events import Erase
from schemas.ids import VisitorId
from schemas.state import InputPosition, VisitorState, decode_state
from streams.cluster.group_state import GroupState
from streams.cluster.topic_check import TopicState
from streams.cluster.topics import Topic, changelog_name
from streams.records import InputRecord, OutputRecord
from streams.sessions.identity import erasures
from tests.streams.state.test_search import COOKIE, CUSTOMER, DEVICE, SIBLING, stored

SETTINGS = Settings()
CHANGELOG = changelog_name(SETTINGS.kafka, SETTINGS.topics)
CONTROL, LETTERS, LISTS, DEFAULTS = (
    SETTINGS.topics.name(one)
    for one in (Topic.SESSION_CONTROL, Topic.DEAD_LETTERS, Topic.RECOMMENDATIONS, Topic.DEFAULT_RECOMMENDATIONS)
)
CONFIGS = {
    "cleanup.policy": "compact",
    "retention.ms": "-1",
    "segment.ms": "1000",
    "max.compaction.lag.ms": "1000",
    "delete.retention.ms": "1000",
}


class FakeDeployment:
    """Topics of one partition, and the owner of all states, which reads session-control when it is asked how far it is.

    then: what happens when it has erased somebody.
    """

    def __init__(self) -> None:
        self.logs: dict[str, list[InputRecord]] = {}
        self.starts: dict[str, int] = {}
        self.read_to = 0
        self.then: Callable[[], None] = lambda: None

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Write a record of now."""
        log = self.logs.setdefault(topic, [])
        log.append(InputRecord(InputPosition(topic, 0, len(log)), key, value, time.time_ns() // 1_000_000))

    def held(self, topic: str) -> list[InputRecord]:
        """Return what can be read of a topic."""
        return self.logs.get(topic, [])[self.starts.get(topic, 0) :]

    def states(self) -> dict[bytes, VisitorState]:
        """Return the states that there are."""
        latest = {record.key: record.value for record in self.held(CHANGELOG) if record.key is not None}
        return {key: decode_state(value) for key, value in latest.items() if value is not None}

    def group_state(self, *_: Any) -> GroupState:
        """Erase who is to be erased, and tell that all was read."""
        while self.read_to < len(self.logs.get(CONTROL, [])):
            record = self.logs[CONTROL][self.read_to]
            self.read_to += 1
            control = wire.decode_control(record.value or b"")
            if isinstance(control, Erase):
                self._erase(control)
        return GroupState("STABLE", 1, {0: self.read_to})

    def _erase(self, control: Erase) -> None:
        key = control.visitor_id.encode()
        further = erasures(self.states().get(key), control)
        for other, _ in further:
            self.append(CONTROL, None, wire.encode(other))
        if further:
            self.append(CONTROL, None, wire.encode(replace(control, reach="self")))
            return
        self.append(CHANGELOG, key, None)
        self.then()

    def described(self, _admin: object, names: list[str]) -> dict[str, TopicState]:
        """Return the same settings for all topics."""
        return {name: TopicState(1, 1, CONFIGS) for name in names}

    def delete_before(self, _admin: object, topic: str, ends: Mapping[int, int]) -> None:
        """Delete records."""
        self.starts[topic] = max(self.starts.get(topic, 0), ends.get(0, 0))


class FakeClient:
    """Reads and writes the topics, as TopicReader and Sender do."""

    def __init__(self, deployment: FakeDeployment) -> None:
        self._deployment = deployment

    def __exit__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def bounds(self, topic: str) -> dict[int, range]:
        """Return what is held."""
        return {0: range(self._deployment.starts.get(topic, 0), len(self._deployment.logs.get(topic, [])))}

    def read(self, topic: str, offsets: Mapping[int, range]) -> Iterator[InputRecord]:
        """Yield records."""
        yield from (one for one in list(self._deployment.held(topic)) if one.position.offset in offsets[0])

    def send(self, record: OutputRecord) -> None:
        """Write one."""
        self._deployment.append(record.topic, record.key, record.value)

    def flush(self) -> None:
        """Nothing waits."""


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> FakeDeployment:
    """Put topics in memory under the command."""
    fake = FakeDeployment()
    for name in ("TopicReader", "Sender"):
        monkeypatch.setattr(erasure, name, lambda *_, **__: FakeClient(fake))
    monkeypatch.setattr(erasure, "admin_client", lambda _: None)
    for name in ("group_state", "described", "delete_before"):
        monkeypatch.setattr(erasure, name, getattr(fake, name))
    return fake


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(erase.command, [*arguments, "--yes", "--json"])


def report(told: Result) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the report of a command that has ended well, and its rows by place."""
    assert told.exit_code == 0, told.exception
    whole = json.loads(told.stdout)
    return whole, {place["place"]: place for place in whole["places"]}


def on_one_device(deployment: FakeDeployment) -> None:
    """Let two customers have logged in on a device."""
    for key, value in DEVICE:
        deployment.append(CHANGELOG, key, value)
        deployment.append(LISTS, key, b"a list")


def test_one_of_two_customers_on_a_device_is_erased_and_the_other_stays(deployment: FakeDeployment) -> None:
    """What the state of the other one says of the cookie is told, with what ends it."""
    on_one_device(deployment)
    whole, places = report(run(CUSTOMER))
    assert (whole["ids"], whole["linked_ids"]) == (1, 2)
    assert set(deployment.states()) == {SIBLING.encode(), b"stranger"}
    assert (places[LISTS]["done"], places[CONTROL]["remains"]) == ("2 tombstones", 0)
    assert {one.key for one in deployment.held(LISTS) if one.value is None} == {COOKIE.encode(), CUSTOMER.encode()}
    state = places[CHANGELOG]
    assert "1 states of other visitors name an id of these" in state["note"]
    assert "sessions.visitor_retention" in state["note"]
    assert state["until"] is None


def test_a_dry_run_tells_who_else_names_the_ids(deployment: FakeDeployment) -> None:
    """Before anything is erased."""
    on_one_device(deployment)
    _, places = report(run(CUSTOMER, "--dry-run"))
    assert "1 states of other visitors name an id of these" in places[CHANGELOG]["note"]
    assert CONTROL not in deployment.logs


def clicks_again(deployment: FakeDeployment) -> None:
    """Let the visitor click as soon as the state is gone."""
    deployment.append(CHANGELOG, CUSTOMER.encode(), stored())
    deployment.then = lambda: deployment.append(CHANGELOG, CUSTOMER.encode(), stored())


def test_without_a_block_who_clicks_again_begins_anew_and_the_report_says_so(deployment: FakeDeployment) -> None:
    """The shopper stays in the shop, only the history goes; tombstones are written all the same."""
    clicks_again(deployment)
    deployment.append(LISTS, CUSTOMER.encode(), b"a list")
    whole, places = report(run(CUSTOMER, "--no-block"))
    assert (whole["is_erased"], whole["blocked_until"]) == (True, None)
    assert (places[LISTS]["done"], places[CONTROL]["remains"]) == ("1 tombstones", 0)
    assert places[CHANGELOG]["note"].startswith("1 states begun anew by later clicks")
    assert places[CHANGELOG]["until"] is None


def test_a_state_that_is_there_again_in_spite_of_its_block_is_a_failure(deployment: FakeDeployment) -> None:
    """Somebody writes who does not know of it."""
    clicks_again(deployment)
    told = run(CUSTOMER)
    assert isinstance(told.exception, erasure.NotErasedError)
    assert "1 states are there again, on partitions [0]" in str(told.exception)


@pytest.mark.parametrize("place", ["berlin", "__default__"])
def test_a_visitor_who_is_called_like_a_place_leaves_its_list_to_everybody(
    deployment: FakeDeployment, place: str
) -> None:
    """Keys of default-recommendations are no visitors."""
    deployment.append(DEFAULTS, place.encode(), b"the list of a place")
    deployment.append(LISTS, place.encode(), b"the list of a visitor")
    _, places = report(run(place))
    assert [record.value for record in deployment.held(DEFAULTS)] == [b"the list of a place"]
    assert (places[LISTS]["done"], places["default-recommendations"]["done"]) == ("1 tombstones", "nothing")


def test_two_erasures_at_once_keep_to_their_own_ids(deployment: FakeDeployment) -> None:
    """What is asked meanwhile for somebody else is neither counted, tombstoned nor deleted here."""
    other = VisitorId("somebody-else")
    for visitor_id in (CUSTOMER, other):
        deployment.append(CHANGELOG, visitor_id.encode(), stored())
        deployment.append(LISTS, visitor_id.encode(), b"a list")
        deployment.append(LETTERS, visitor_id.encode(), b"a letter")
    asked = Erase(visitor_id=other, blocked_until_ms=0)

    def asks_once() -> None:
        deployment.then = lambda: None
        deployment.append(CONTROL, None, wire.encode(asked))
        deployment.append(CONTROL, None, wire.encode(replace(asked, request_id="of another command")))

    deployment.then = asks_once
    whole, places = report(run(CUSTOMER, "--delete-dead-letters"))
    assert (whole["linked_ids"], places[LISTS]["done"]) == (0, "1 tombstones")
    assert [record.key for record in deployment.held(LETTERS)] == [other.encode()]


def test_ids_that_the_workers_add_are_cleaned_up_after(
    deployment: FakeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login came between the look at the states and their erasure."""
    deployment.append(CHANGELOG, CUSTOMER.encode(), stored())
    deployment.append(LISTS, b"new-cookie", b"a list")
    owner, seen = deployment.group_state, []

    def logs_in(*_: Any) -> GroupState:
        if not seen:
            deployment.append(CHANGELOG, CUSTOMER.encode(), stored([VisitorId("new-cookie")]))
        seen.append(True)
        return owner()

    monkeypatch.setattr(erasure, "group_state", logs_in)
    whole, places = report(run(CUSTOMER))
    assert (whole["linked_ids"], places[LISTS]["done"]) == (1, "1 tombstones")
    assert b"new-cookie" not in deployment.states()
