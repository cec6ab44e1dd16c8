from agents.upkeep.erasure_report import Place, elsewhere, kept, of_control, of_dead_letters, of_state, tombstoned
from schemas.ids import VisitorId
from streams.cluster.topic_lifetime import TopicLifetime
from streams.state.id_search import Found
from streams.state.search import StateSurvey

DAY_MS = 86_400_000
V1 = VisitorId("v1")


def lifetime(*, is_compacted: bool = False, retention_ms: int | None = 30 * DAY_MS) -> TopicLifetime:
    """Make a topic's times; compaction is bounded by 14 days."""
    return TopicLifetime(
        is_deleted=not is_compacted or retention_ms is not None,
        is_compacted=is_compacted,
        retention_ms=retention_ms,
        segment_ms=7 * DAY_MS,
        compacted_within_ms=14 * DAY_MS if is_compacted else None,
        tombstones_ms=DAY_MS,
    )


def summary(place: Place) -> tuple[int | None, str, int | None, float | None]:
    """Return what matters of a row; the time in days."""
    return place.found, place.done, place.remains, None if place.until_ms is None else place.until_ms / DAY_MS


def test_records_of_a_topic_without_tombstones_stay_until_their_retention_ends() -> None:
    """Segment and retention after the newest of them; where that is not bounded, the note says what to do."""
    found = Found(records=3, newest_ms=DAY_MS)
    assert summary(kept("t", found, lifetime())) == (3, "nothing", 3, 38)
    assert summary(kept("t", Found(), lifetime())) == (0, "nothing", 0, None)
    forever = kept("t", found, lifetime(retention_ms=None), "the shop's own topic")
    assert (forever.until_ms, forever.note) == (
        None,
        "the shop's own topic; its retention is not bounded: set retention.ms on it",
    )
    assert "hide" in kept("t", found, None).note


def test_tombstones_end_records_by_compaction() -> None:
    """Where there is nothing to write one for, the topic is as it was."""
    found = Found(records=3, newest_ms=DAY_MS)
    place = tombstoned("t", found, lifetime(is_compacted=True), 2 * DAY_MS, count=1)
    assert summary(place) == (3, "1 tombstones", 3, 17)
    assert "a partition without new records keeps its last segment until one comes" in place.note
    assert summary(tombstoned("t", found, lifetime(), 2 * DAY_MS, count=0)) == (3, "nothing", 3, 38)


def test_the_state_is_told_before_and_after() -> None:
    """A dry run has erased nothing; where the brokers compact at a time of their own, the note says what bounds it."""
    found = StateSurvey({V1}, records=2, states={(0, V1)})
    left = StateSurvey({V1}, records=4)
    before = of_state("log", found, found, lifetime(is_compacted=True, retention_ms=None), None)
    assert summary(before) == (2, "nothing: 1 states of 1 ids", 2, None)
    after = of_state("log", found, left, lifetime(is_compacted=True, retention_ms=None), DAY_MS)
    assert summary(after) == (2, "1 states of 1 ids erased", 4, 16)
    assert "a partition without new records keeps its last segment until one comes" in after.note
    assert "max.compaction.lag.ms" in of_state("log", found, left, lifetime(retention_ms=None), DAY_MS).note


def test_dead_letters_stay_unless_they_are_to_be_deleted() -> None:
    """A deletion takes those of others before the last of them, and says how many."""
    found = Found(records=2, newest_ms=0)
    assert summary(of_dead_letters("dlq", found, lifetime(), deleted=None)) == (2, "nothing", 2, 37)
    assert summary(of_dead_letters("dlq", found, lifetime(), deleted=5)) == (
        2,
        "5 letters deleted, 3 of others",
        0,
        None,
    )


def test_requests_that_could_not_be_deleted_stay_until_their_retention_ends() -> None:
    """Since a right is missing, or the workers have not read them."""
    found = Found(records=4, newest_ms=0)
    done = of_control("control", found, Found(), lifetime(), refused=None)
    assert summary(done) == (4, "4 deleted, with the records before them", 0, None)
    refused = of_control("control", found, found, lifetime(), refused="not authorized")
    assert (summary(refused), "Delete" in refused.note) == ((4, "nothing", 4, 37), True)


def test_places_that_are_no_topic_are_told_too() -> None:
    """Nobody must think that they were forgotten."""
    told = ["local files", "default-recommendations", "memory", "logs", "elsewhere"]
    assert [place.place for place in elsewhere()] == told
