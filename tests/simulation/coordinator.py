"""The coordinator inside the consumer's client: it joins the group, says that it lives, and commits."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from aiokafka import errors
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from faust.types import TP

from tests.simulation.loop import current_thread

if TYPE_CHECKING:
    from tests.simulation.consumer_client import ConsumerClient

BACKOFF_SECONDS: Final = 0.1


class _WithOperation:
    """A request of aiokafka's class, with what the group does about it instead of its fields."""

    def __init__(self, operation: Callable[[], Any]) -> None:
        self.operation = operation


class _Heartbeat(_WithOperation, HeartbeatRequest):
    pass


class _Sync(_WithOperation, SyncGroupRequest):
    pass


class _Commit(_WithOperation, OffsetCommitRequest):
    pass


class Coordinator:
    """Keeps the membership: joins, heartbeats, commits."""

    def __init__(self, client: "ConsumerClient") -> None:
        self._consumer = client
        self._client = current_thread().process.name
        self.generation = -1
        self.member_id: str | None = None
        self.coordinator_id = 0
        self._metadata_snapshot = dict.fromkeys(client.broker.topics(), client.broker.partitions)
        self._pending_exception: BaseException | None = None
        self._rejoin = asyncio.Event()
        self._commit_lock = asyncio.Lock()
        self._heartbeats: asyncio.Task[None] | None = None
        self._is_closing = False
        self._coordination_task = asyncio.ensure_future(self._coordinate())

    async def close(self) -> None:
        """Leave the group."""
        self._is_closing = True
        self._coordination_task.cancel()
        await self._stop_heartbeats()
        if self.member_id is not None:
            member_id = self.member_id
            await self._request(lambda: self._group.leave(member_id))

    async def commit(self, offsets: Mapping[TP, int]) -> None:
        """Commit; raises CommitFailedError where the group has rebalanced."""
        while True:
            async with self._commit_lock:
                try:
                    commit = partial(self._commit, self.member_id, self.generation, offsets)
                    await asyncio.shield(self._ask(_Commit(commit)))
                except errors.RebalanceInProgressError as error:
                    self._rejoin.set()
                    raise _commit_failed() from error
                except (errors.UnknownMemberIdError, errors.IllegalGenerationError) as error:
                    self._reset_generation()
                    raise _commit_failed() from error
                except errors.RequestTimedOutError:
                    await asyncio.sleep(BACKOFF_SECONDS)
                    continue
                return

    @property
    def _group(self) -> Any:
        return self._consumer.broker.group

    def _commit(self, member_id: str | None, generation: int, offsets: Mapping[TP, int]) -> None:
        self._consumer.broker.commit(self._client, member_id, generation, offsets)

    def _request(self, operation: Any) -> "asyncio.Future[Any]":
        return self._consumer.network.request(operation)

    async def _send_req(self, request: Any) -> Any:
        """Ask the group, whose answer has a code; streams/delivery/membership.py listens here."""
        value, code = None, errors.NoError.errno
        try:
            value = await self._request(request.operation)
        except (errors.RebalanceInProgressError, errors.UnknownMemberIdError, errors.IllegalGenerationError) as error:
            code = error.errno
        return SimpleNamespace(error_code=code, topics=[("", [(0, code)])], value=value)

    async def _ask(self, request: Any) -> Any:
        """Ask the group; raises what the code of its answer stands for."""
        answer = await self._send_req(request)
        if answer.error_code != errors.NoError.errno:
            raise errors.for_code(answer.error_code)
        return answer.value

    def _reset_generation(self) -> None:
        self.generation, self.member_id = -1, None
        self._rejoin.set()

    async def _coordinate(self) -> None:
        subscriptions = self._consumer._subscription
        await subscriptions.wait_for_subscription()
        is_prepared = False
        while True:
            subscription = subscriptions.subscription
            self._rejoin.clear()
            if not is_prepared:
                await self._prepare_join()
                is_prepared = True
            await self._stop_heartbeats()
            if not await self._join_again(subscription):
                await asyncio.sleep(BACKOFF_SECONDS)
                continue
            is_prepared = False
            self._heartbeats = asyncio.ensure_future(self._beat())
            waits = [asyncio.ensure_future(self._rejoin.wait()), subscription.unsubscribe_future]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            waits[0].cancel()

    async def _prepare_join(self) -> None:
        subscriptions = self._consumer._subscription
        revoked = subscriptions.assigned_partitions()
        subscriptions.begin_reassignment()
        await subscriptions.listener.on_partitions_revoked(revoked)

    async def _join_again(self, subscription: Any) -> bool:
        assignor, cluster = self._consumer.assignor, self._consumer._client.cluster
        try:
            metadata = assignor.metadata(sorted(subscription.topics))
            member_id = self.member_id
            joined = await self._request(lambda: self._group.join(member_id, metadata))
            self.generation, self.member_id = joined.generation, joined.member_id
            shares = assignor.assign(cluster, joined.members) if joined.is_leader else None
            sync = partial(self._group.sync, joined.member_id, joined.generation, shares)
            share = await self._ask(_Sync(sync))
        except (errors.RebalanceInProgressError, errors.RequestTimedOutError):
            return False
        except (errors.UnknownMemberIdError, errors.IllegalGenerationError):
            self._reset_generation()
            return False
        subscriptions = self._consumer._subscription
        subscriptions.assign_from_subscribed(share.partitions())
        assignor.on_assignment(share)
        await subscriptions.listener.on_partitions_assigned(subscriptions.assigned_partitions())
        return True

    async def _stop_heartbeats(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
            self._heartbeats = None

    async def _beat(self) -> None:
        while self.member_id is not None:
            await asyncio.sleep(self._consumer.heartbeat_seconds)
            if self.member_id is None:
                return
            try:
                await self._ask(_Heartbeat(partial(self._group.heartbeat, self.member_id, self.generation)))
            except errors.RebalanceInProgressError:
                self._rejoin.set()
            except (errors.UnknownMemberIdError, errors.IllegalGenerationError):
                self._reset_generation()
            except errors.RequestTimedOutError:
                continue


def _commit_failed() -> errors.CommitFailedError:
    return errors.CommitFailedError(
        "Commit cannot be completed since the group has already rebalanced and may have assigned the partitions to "
        "another member"
    )
