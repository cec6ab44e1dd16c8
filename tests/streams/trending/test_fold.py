from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ids import ItemId, VisitorId
from schemas.records import CountedView
from streams.trending.fold import (
    EVERYWHERE,
    CountedClick,
    ReadRecord,
    StoredPlace,
    StoredProgress,
    TrendingFold,
)
from tests.streams.trending.logs import (
    START_MS,
    StateTopic,
    Written,
    assert_equal,
    chain,
    name,
    new_fold,
    read_on,
    truth,
    with_crashes,
)

PARTITIONS = 3


def batch_of(logs: list[list[Written]]) -> TrendingFold:
    """Count each input once, in one go."""
    fold = new_fold()
    for partition, records in enumerate(logs):
        for offset, written in enumerate(records):
            fold.apply(written.record, partition, offset, written.written_ms)
    return fold


def viewed(offset: int, item: str = "a", *, place: str | None = "nl", visitor: int = 0, at_ms: int = 0) -> ReadRecord:
    """Make the record of a view that counts."""
    view = CountedView(ItemId(item), START_MS + at_ms, place)
    return ReadRecord(f"clicks-0-{offset}", VisitorId(f"v{visitor}"), [view])


def weights(fold: TrendingFold, place: str = EVERYWHERE) -> dict[str, float]:
    """Return what each item counts now, at the longest half-life."""
    counts = fold.places[place]
    return dict(zip(counts.items, counts.at(fold.now_ms)[:, -1].tolist(), strict=True))


def lives(rng: Random, fold: TrendingFold, logs: list[list[Written]], topic: StateTopic) -> bool:
    """Let an observer read and write for a while; return whether it still lives, and was not killed at a write."""
    for _ in range(rng.randrange(1, 5)):
        read_on(rng, fold, logs, rng.choice((1, 20, 150, 300)))
        writes = list(topic.writes(fold))
        made = rng.choice((len(writes), len(writes), rng.randrange(len(writes))))
        for write in writes[:made]:
            write()
        if made < len(writes):
            return False
    return True


def bad_days(seed: int, kills: int, make: Callable[[], TrendingFold]) -> tuple[TrendingFold, TrendingFold]:
    """Return the fold after workers repeated, observers ended between any two writes, slow ones wrote old places.

    Beside it the batch. make: makes a fold.
    """
    rng = Random(seed)
    inputs = [truth(rng, partition, 300) for partition in range(PARTITIONS)]
    logs = [with_crashes(rng, records) for records in inputs]
    topic, slow = StateTopic(), list[TrendingFold]()
    for _ in range(kills):
        fold = make()
        fold.restore(*topic.read())
        if lives(rng, fold, logs, topic):
            slow.append(fold)  # it does not know yet that its turn is over
        if slow and rng.random() < 0.5:
            zombie = slow.pop(rng.randrange(len(slow)))
            if lives(rng, zombie, logs, topic):
                slow.append(zombie)
    fold = make()
    fold.restore(*topic.read())
    while read_on(rng, fold, logs, 10_000):
        pass
    return fold, batch_of(inputs)


@given(seed=st.integers(0, 2**32), kills=st.integers(0, 25))
@settings(max_examples=100, deadline=None)
def test_the_fold_is_the_batch_whatever_is_killed_repeated_or_stale(seed: int, kills: int) -> None:
    """Each input counts once, at each place."""
    assert_equal(*bad_days(seed, kills, new_fold))


class WithoutWatermark(TrendingFold):
    """Counts a repeat again."""

    def apply(self, record: ReadRecord, partition: int, offset: int, written_ms: int) -> list[CountedClick]:
        """See `TrendingFold.apply`."""
        reached, self._reached = self._reached, {}
        clicks = super().apply(record, partition, offset, written_ms)
        for source, last in reached.items():
            self._reached[source] = max(last, self._reached.get(source, -1))
        return clicks


class WithoutFloors(TrendingFold):
    """Takes every place that it finds for one that holds what the progress does."""

    def restore(
        self, progress: StoredProgress | None, places: Sequence[StoredPlace], unreadable: Sequence[str] = ()
    ) -> list[str]:
        """See `TrendingFold.restore`."""
        damaged = super().restore(progress, places, unreadable)
        self._floors.clear()
        return damaged


@pytest.mark.parametrize("mutant", [WithoutWatermark, WithoutFloors])
def test_such_days_tell_a_fold_that_forgets(mutant: type[TrendingFold]) -> None:
    """Else they would prove nothing."""

    def counts_as_the_batch(seed: int) -> bool:
        fold, batch = bad_days(seed, 25, lambda: mutant(chain, name))
        assert fold.offsets == batch.offsets
        return weights(fold) == pytest.approx(weights(batch), rel=1e-9)

    assert not all(counts_as_the_batch(seed) for seed in range(5))


def test_a_repeat_counts_once() -> None:
    """An input that was counted is told by its offset, of its own clickstream and partition."""
    fold = new_fold()
    for at, record in enumerate([viewed(0), viewed(1, "b"), viewed(0), viewed(1, "b"), viewed(2)]):
        fold.apply(record, 0, at, START_MS)
    assert weights(fold) == weights(fold, "nl") == {"a": 2.0, "b": 1.0}
    assert fold.repeats == 2
    other = ReadRecord("orders-0-0", VisitorId("v1"), viewed(0).counts)
    assert fold.apply(other, 0, 5, START_MS)
    assert weights(fold) == {"a": 3.0, "b": 1.0}
    assert fold.offsets == {"clicks-0": 2, "orders-0": 0}


def test_a_view_counts_at_its_place_and_at_those_around_it() -> None:
    """Without a place it counts everywhere only."""
    fold = new_fold()
    fold.apply(viewed(0, place="nl/nh/ams"), 0, 0, START_MS)
    fold.apply(viewed(1, place=None), 0, 1, START_MS)
    assert {place: weights(fold, place)["a"] for place in fold.places} == {"nl/nh/ams": 1, "nl/nh": 1, "nl": 1, "": 2}


def test_a_view_counts_half_after_a_half_life_in_whatever_order() -> None:
    """Late views count by their time, and one from the future by that of its record."""
    fold = new_fold()
    hour_ms = 3_600_000
    views = [viewed(0, "old", at_ms=-405 * hour_ms // 10), viewed(1, "new"), viewed(2, "future", at_ms=99 * hour_ms)]
    for at, record in enumerate(views):
        fold.apply(record, 0, at, START_MS)
    assert weights(fold) == pytest.approx({"old": 0.5, "new": 1.0, "future": 1.0})


def test_inputs_without_a_record_are_told() -> None:
    """Ignored, dead-lettered, or lost: whoever looks can see how many."""
    fold = new_fold()
    for at, offset in enumerate((4, 5, 8, 5, 9)):
        fold.apply(viewed(offset), 0, at, START_MS)
    assert fold.gaps == 2


def test_a_record_that_is_not_ours_counts_nothing() -> None:
    """Its id names no offset."""
    fold = new_fold()
    assert fold.apply(ReadRecord("nobody", VisitorId("v1"), viewed(0).counts), 0, 7, START_MS) == []
    assert (fold.places, fold.read) == ({}, {0: 8})


def test_offsets_beyond_the_end_of_a_clickstream_are_of_an_earlier_one() -> None:
    """Made anew under its name it begins at 0, and nothing of it is taken for a repeat."""
    fold = new_fold()
    fold.apply(viewed(900), 0, 0, START_MS)
    fold.apply(ReadRecord("orders-0-5", VisitorId("v1"), []), 0, 1, START_MS)
    assert fold.forget_beyond({"clicks-0": 901, "orders-0": 6}) == []
    assert fold.forget_beyond({"clicks-0": 3, "orders-0": 6}) == ["clicks-0"]
    fold.apply(viewed(2), 0, 2, START_MS)
    assert weights(fold) == {"a": 2.0}


def test_of_too_many_places_the_least_viewed_go() -> None:
    """Invented places do not push out the shop's; everywhere always stays."""
    fold = TrendingFold(chain, name, max_places=3)
    for offset in range(20):
        fold.apply(viewed(offset, place="nl" if offset % 2 else "de"), 0, offset, START_MS)
    topic = StateTopic()
    for offset in range(20, 30):
        fold.apply(viewed(offset, place=f"x{offset}"), 0, offset, START_MS)
    for write in topic.writes(fold):
        write()
    fold.settle()
    assert fold.places.keys() == {"", "nl", "de"}
    for write in topic.writes(fold):
        write()
    assert topic.places.keys() == {"", "nl", "de"}


def test_a_damaged_place_is_left_out() -> None:
    """The others are there, and its counts begin anew."""
    fold, topic = new_fold(), StateTopic()
    fold.apply(viewed(0), 0, 0, START_MS)
    for write in topic.writes(fold):
        write()
    progress, places = topic.read()
    other = new_fold()
    assert progress is not None
    damaged = [
        type(one)(one.place, one.read, one.offsets, type(one.counts)(0, one.counts.items, b"", b""))
        if one.place
        else one
        for one in places
    ]
    assert other.restore(progress, damaged) == ["nl"]
    assert weights(other) == {"a": 1.0}
