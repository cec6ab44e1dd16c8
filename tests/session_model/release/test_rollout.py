"""The moves of a rollout, and the log that they are written to."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.rollout import Rollout, RolloutError, record_name
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = ModelVersion(1), ModelVersion(2), ModelVersion(3)


def after(*moves: Callable[[Moves], Rollout]) -> Rollout:
    """Make one move after the other, an hour apart."""
    record = None
    for hours, move in enumerate(moves):
        record = move(Moves(record, NOW + timedelta(hours=hours), "ana"))
    assert record is not None
    return record


def promote(version: ModelVersion) -> Callable[[Moves], Rollout]:
    """Promote."""
    return lambda moves: moves.promote(version, "it passed")


def try_out(version: ModelVersion, share: float = 0.1) -> Callable[[Moves], Rollout]:
    """Begin a canary."""
    return lambda moves: moves.trial(version, "canary", share, "")


def roll_back(moves: Moves) -> Rollout:
    """Step back."""
    return moves.rollback("carts fell")


def withdraw(moves: Moves) -> Rollout:
    """End a trial."""
    return moves.withdraw("it is slow")


def test_a_promotion_keeps_the_one_before() -> None:
    """And says when, why and by whom."""
    record = after(promote(ONE), promote(TWO))
    assert (record.revision, record.champion, record.previous) == (2, TWO, ONE)
    assert (record.changed_at, record.reason, record.by) == (NOW + timedelta(hours=1), "it passed", "ana")


def test_a_candidate_that_is_promoted_is_on_trial_no_more() -> None:
    """Another one goes on."""
    assert after(promote(ONE), try_out(TWO), promote(TWO)).candidate is None
    record = after(promote(ONE), try_out(TWO), promote(THREE))
    assert record.candidate is not None
    assert record.candidate.version == TWO


def test_a_rollback_brings_the_one_before_and_bars_what_was() -> None:
    """A trial against it ends."""
    record = after(promote(ONE), promote(TWO), try_out(THREE), roll_back)
    assert (record.champion, record.previous, record.candidate, record.rejected) == (ONE, None, None, (TWO,))


def test_a_withdrawn_release_is_barred_until_it_is_promoted() -> None:
    """A person may know better."""
    moves = (promote(ONE), try_out(TWO), withdraw)
    assert after(*moves).rejected == (TWO,)
    with pytest.raises(UsageError, match="version 2 was rejected"):
        after(*moves, try_out(TWO))
    record = after(*moves, promote(TWO))
    assert (record.champion, record.previous, record.rejected) == (TWO, ONE, ())


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        ([roll_back], "no release was promoted yet"),
        ([try_out(TWO)], "no release was promoted yet"),
        ([promote(ONE), roll_back], "no champion before version 1"),
        ([promote(ONE), withdraw], "no release is on trial"),
        ([promote(ONE), promote(ONE)], "version 1 is the champion already"),
        ([promote(ONE), try_out(ONE)], "version 1 is the champion; a candidate is another"),
        ([promote(ONE), try_out(TWO), try_out(TWO)], "the canary of 10% of the visitors already"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(moves: list[Callable[[Moves], Rollout]], told: str) -> None:
    """With what is there."""
    with pytest.raises(UsageError, match=told):
        after(*moves)


def test_a_share_may_grow() -> None:
    """The same release, for more."""
    record = after(promote(ONE), try_out(TWO), try_out(TWO, 0.5))
    assert record.candidate is not None
    assert record.candidate.share == 0.5


def test_a_clock_that_goes_back_writes_no_past() -> None:
    """Who served when is read from the times."""
    first = Moves(None, NOW, "ana").promote(ONE, "")
    assert Moves(first, NOW - timedelta(days=1), "ana").promote(TWO, "").changed_at == NOW


@pytest.fixture
def log(tmp_path: Path) -> RolloutLog:
    """Open an empty one."""
    return RolloutLog(open_bus(f"memory:{tmp_path}"), "session_gru")


def test_what_was_appended_last_is_in_force(log: RolloutLog) -> None:
    """And all records are the audit."""
    assert log.in_force() is None
    for version in (ONE, TWO, THREE):
        log.append(Moves(log.in_force(), NOW, "ana").promote(version, ""))
    found = log.in_force()
    assert found is not None
    assert (found.champion, found.previous) == (THREE, TWO)
    assert [record.champion for record in log.records()] == [ONE, TWO, THREE]


def test_of_two_changes_at_once_one_is_refused(log: RolloutLog) -> None:
    """The other may not be wanted any more."""
    log.append(Moves(None, NOW, "ana").promote(ONE, ""))
    before = log.in_force()
    refused: list[InsessionError] = []

    def change(version: ModelVersion) -> None:
        try:
            log.append(Moves(before, NOW, "ana").promote(version, ""))
        except InsessionError as error:
            refused.append(error)

    threads = [threading.Thread(target=change, args=(version,)) for version in (TWO, THREE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = refused
    assert "somebody else changed the rollout" in str(error)
    assert [record.revision for record in log.records()] == [1, 2]


def test_a_record_that_is_none_is_no_beginning(tmp_path: Path) -> None:
    """Else the next promotion would bar nothing and forget who was champion."""
    bus = open_bus(f"memory:{tmp_path}")
    bus.write(f"session_gru/{record_name(1)}", b"{}")
    with pytest.raises(RolloutError):
        RolloutLog(bus, "session_gru").in_force()
