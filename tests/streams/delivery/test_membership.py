from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

from streams.delivery.membership import member_lost, watch_coordinator

HEARTBEAT = HeartbeatRequest("group", 3, "member")
SYNC = SyncGroupRequest("group", 3, "member", None, [])
COMMIT = OffsetCommitRequest("group", 3, "member", -1, [])


class Group:
    """A coordinator that takes two seconds for each answer."""

    def __init__(self, error_code: int) -> None:
        self.error_code, self.now_seconds = error_code, 100.0
        self.renewals: list[float] = []
        self.lost = 0
        watch_coordinator(self, lambda: self.now_seconds, self.renewals.append, self._lose)

    async def _send_req(self, _request: Any) -> Any:
        self.now_seconds += 2
        return SimpleNamespace(error_code=self.error_code, topics=[("clicks", [(0, 0), (1, self.error_code)])])

    def _lose(self) -> None:
        self.lost += 1


def named(value: Any) -> str:
    """Return a request by its kind, an error by its code."""
    return str(value) if isinstance(value, int) else type(value).__name__


@pytest.mark.parametrize(
    ("request_", "error_code"), [(HEARTBEAT, 0), (HEARTBEAT, 27), (SYNC, 0)], ids=["heartbeat", "rebalance", "joined"]
)
async def test_an_answer_renews_the_lease_from_when_its_request_was_sent(request_: Any, error_code: int) -> None:
    """The group begins to count at the earliest then; also while it hands partitions over."""
    group = Group(error_code)
    await group._send_req(request_)
    assert (group.renewals, group.lost) == ([100.0], 0)


@pytest.mark.parametrize(
    ("request_", "error_code"),
    [(HEARTBEAT, 22), (HEARTBEAT, 25), (HEARTBEAT, 82), (COMMIT, 25), (COMMIT, 82)],
    ids=named,
)
async def test_a_member_that_the_group_does_not_know_is_lost(request_: Any, error_code: int) -> None:
    """The partitions are another one's: aiokafka would join again, and send what it had queued."""
    group = Group(error_code)
    await group._send_req(request_)
    assert (group.renewals, group.lost) == ([], 1)


@pytest.mark.parametrize(
    ("request_", "error_code"), [(SYNC, 25), (COMMIT, 22), (COMMIT, 0), (HEARTBEAT, 16)], ids=named
)
async def test_other_answers_say_nothing(request_: Any, error_code: int) -> None:
    """A member that is not known while it joins has nothing to lose, and an old commit may meet a new generation."""
    group = Group(error_code)
    assert (await group._send_req(request_)).error_code == error_code
    assert (group.renewals, group.lost) == ([], 0)


def test_the_message_names_the_instance_id_where_there_is_one() -> None:
    """Two workers with one id are the likeliest cause then."""
    assert str(member_lost(None, 30.0)) == (
        "the group has given the partitions away: it has not heard of this worker for kafka.session_timeout (30 s). "
        "Start it again"
    )
    assert str(member_lost("a", 30.0)).startswith("the group has another worker with kafka.instance_id 'a', or it has")
