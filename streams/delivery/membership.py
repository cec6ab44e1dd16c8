"""What the group answers to aiokafka, as it concerns the lease.

aiokafka 0.14 keeps the time of its last good heartbeat in a local variable, by a clock that stands still while the
machine sleeps, and joins again without a word where the group does not know it any more.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from aiokafka.errors import IllegalGenerationError, NoError, RebalanceInProgressError, UnknownMemberIdError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

from schemas.errors import InsessionError

_FENCED_INSTANCE_ID: Final = 82  # aiokafka has no class for it
_NO_MEMBER: Final = frozenset({UnknownMemberIdError.errno, _FENCED_INSTANCE_ID})

Answer = Literal["renews", "lost", "nothing"]


class MembershipLostError(InsessionError):
    """The group does not know this worker any more: its partitions are another one's. The process ends."""


def member_lost(instance_id: str | None, session_timeout_seconds: float) -> MembershipLostError:
    """Describe what happened to a member that the group does not know any more, and what to do."""
    silent = f"it has not heard of this worker for kafka.session_timeout ({session_timeout_seconds:g} s)"
    if instance_id is None:
        return MembershipLostError(f"the group has given the partitions away: {silent}. Start it again")
    return MembershipLostError(
        f"the group has another worker with kafka.instance_id {instance_id!r}, or {silent}. Give every worker an id of "
        "its own, and start this one again"
    )


def answer_to(request: Any, response: Any) -> Answer:
    """Return what an answer of the group coordinator means for the lease.

    A heartbeat during a rebalance restarts the session, too. A member that is not known while it joins has nothing to
    lose: its partitions are revoked. A commit of the last generation may be under way when the next one begins.
    """
    if isinstance(request, OffsetCommitRequest):
        codes = {code for _, partitions in response.topics for _, code in partitions}
        return "lost" if codes & _NO_MEMBER else "nothing"
    if not isinstance(request, HeartbeatRequest | SyncGroupRequest):
        return "nothing"
    if response.error_code == NoError.errno:
        return "renews"
    if isinstance(request, SyncGroupRequest):
        return "nothing"
    if response.error_code == RebalanceInProgressError.errno:
        return "renews"
    return "lost" if response.error_code in _NO_MEMBER | {IllegalGenerationError.errno} else "nothing"


def watch_coordinator(
    coordinator: Any, clock: Callable[[], float], renewed: Callable[[float], None], lost: Callable[[], None]
) -> None:
    """Observe every answer of the group that an aiokafka coordinator gets; a renewal counts from its request."""
    send: Callable[[Any], Awaitable[Any]] = coordinator._send_req  # noqa: SLF001 - aiokafka tells nobody of its heartbeats

    async def watched(request: Any) -> Any:
        sent_seconds = clock()
        response = await send(request)
        answer = answer_to(request, response)
        if answer == "renews":
            renewed(sent_seconds)
        elif answer == "lost":
            lost()
        return response

    coordinator._send_req = watched  # noqa: SLF001 - as above
