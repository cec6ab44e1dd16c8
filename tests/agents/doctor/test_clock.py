import pytest

from agents.doctor.clock import BrokersClock, clock_finding
from agents.doctor.findings import Finding, Level, ok, warning

WELL = ok("clock", "no record is from the future")
FUTURE = warning("clock", "the newest record is 9 s ahead", "synchronise")
KEEPS = "session-control keeps its writers' timestamps"


@pytest.mark.parametrize(
    ("ahead_ms", "level", "said"),
    [
        (10.0, Level.OK, "the brokers' to within 220 ms"),
        (-220.0, Level.OK, "no record is from the future"),
        (1_000.0, Level.WARNING, "1.0 s ahead of the brokers'"),
        (-1_000.0, Level.WARNING, "1.0 s behind the brokers'"),
    ],
)
def test_a_second_of_skew_is_told(ahead_ms: float, level: Level, said: str) -> None:
    """By the brokers' own time, whatever the producers' clocks say."""
    found = clock_finding(BrokersClock(ahead_ms, 20.0), WELL, "session-control")
    assert (found.check, found.level, said in found.message) == ("clock", level, True)


@pytest.mark.parametrize("asked", [BrokersClock(0.0, 5.0), KEEPS])
def test_records_from_the_future_are_told_where_the_brokers_are_not_to_blame(asked: BrokersClock | str) -> None:
    """Then it is a producer that is wrong, or there is nothing else to go by."""
    assert clock_finding(asked, FUTURE, "session-control") is FUTURE


def test_brokers_that_do_not_tell_their_time_are_said_to() -> None:
    """With what to set so that they do."""
    found: Finding = clock_finding(KEEPS, WELL, "session-control")
    assert (found.level, KEEPS in found.message) == (Level.OK, True)
    assert "message.timestamp.type=LogAppendTime on session-control" in found.remedy
