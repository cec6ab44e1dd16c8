"""What every fault is held against: each event counted, each state and session end compared with an undisturbed run."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.ids import SessionId
from schemas.records import SessionEvent
from schemas.state import decode_state
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import Deployment
from tests.kafka.ledger import Ledger, different
from tests.kafka.shop import Traffic
from tests.kafka.worker_process import WorkerEndedError, WorkerProcess


@contextmanager
def recovery(row: ChaosRow) -> Iterator[None]:
    """Time the way back from the end of a fault; the longest of a row counts."""
    started = time.monotonic()
    yield
    row.recovery_seconds = round(max(row.recovery_seconds or 0.0, time.monotonic() - started), 1)


def let_pass(traffic: Traffic, worker: WorkerProcess, events: int) -> None:
    """Wait until the shop has sent so many more clicks and the worker has answered some."""
    enough = traffic.sent + events
    worker.wait_until(lambda: traffic.sent >= enough and answered(worker) > 0, f"{events} more clicks")


def answered(worker: WorkerProcess) -> float:
    """Count what this process has answered."""
    return worker.metric("insession_events_total")


def kept_alive(deployment: Deployment, worker: WorkerProcess, **settings: str) -> WorkerProcess:
    """Wait until all input is committed; start a worker that has ended again, on its folder, as its keeper would."""
    while True:
        try:
            deployment.wait_until_committed(worker)
        except WorkerEndedError:
            worker = deployment.worker(worker.datadir.name, **settings)
        else:
            return worker


def balance(deployment: Deployment, row: ChaosRow, *workers: WorkerProcess, local: bool = True) -> Ledger:
    """Stop the workers in order when all is committed, and count; fails where anything is lost or other than it should.

    local: the local tables of the last worker, which holds every partition by then, are compared, too.
    """
    for worker in workers:
        deployment.wait_until_committed(workers[-1])
        assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    findings = ledger.check()
    unlike = ledger.unlike_local_tables(workers[-1].datadir) if local else []
    row.events, row.lost, row.duplicates = findings.inputs, len(findings.lost), findings.duplicates
    row.answered = findings.inputs - len(findings.lost)
    row.state_equal, row.session_ends_equal = not findings.changelog and not unlike, not findings.session_ends
    findings.assert_clean()
    assert unlike == []
    return ledger


def answered_by_the_model(ledger: Ledger) -> Counter[str]:
    """Count the answers by tier; fails where the release has given none."""
    tiers = Counter(record.tier for record in ledger.recommendations if record.tier)
    assert tiers["model"] > 0, tiers
    return tiers


def balance_with_ticks(deployment: Deployment, row: ChaosRow, *workers: WorkerProcess) -> None:
    """Stop the workers in order when all is committed, and count; the sessions must be those that the clicks make.

    With ticks, when a session ends depends on the wall clock, and with it what is stored; what it holds does not.
    """
    for worker in workers:
        deployment.wait_until_committed(workers[-1])
        assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    ids = [record.id for record in ledger.recommendations]
    due = ledger.expected.statuses.keys()
    row.events, row.lost, row.duplicates = len(due), len(due - set(ids)), len(ids) - len(set(ids))
    row.answered = row.events - row.lost
    ended = sessions_ended(ledger)
    states = map(decode_state, ledger.changelog().values())
    opened = {session.session_id: list(session.events) for state in states for session in state.open_sessions}
    unlike = different(ledger.expected.sessions(), opened | ended)
    row.session_ends_equal = unlike == [] and not opened.keys() & ended
    assert {record.status for record in ledger.recommendations} <= {"answered", "replayed"}
    assert due == set(ids)
    assert unlike == []
    assert not opened.keys() & ended


def late_clicks(ledger: Ledger) -> list[str]:
    """Return the clicks that came after a tick had ended their session."""
    return [record.id for record in ledger.recommendations if record.status == "late"]


def sessions_ended(ledger: Ledger) -> dict[SessionId, list[SessionEvent]]:
    """Return the events of every ended session; fails where one ended twice."""
    ends = {end.id: end for end in ledger.session_ends()}
    sessions = {end.session_id: end.events for end in ends.values()}
    assert len(sessions) == len(ends)
    return sessions
