import pytest

from streams.delivery.record_ages import BELIEVED_SECONDS, DISAGREE_MS, MAX_FORGIVEN_MS, WINDOW_SECONDS, RecordAges


def ages(*observed_ms: int) -> RecordAges:
    """Return what is known after records of these ages, all at once."""
    watched = RecordAges()
    for age_ms in observed_ms:
        watched.observe(age_ms, 0.0)
    return watched


@pytest.mark.parametrize(
    ("observed_ms", "usual_ms", "skew_ms"),
    [
        ((), 0, None),
        ((1_020, 1_003, 1_400), 1_003, -1_003),
        ((20, 3, 400), 3, -3),
        ((-980, -997, -200), 0, 200),
        ((-30_000, 5, 12), 0, 0),
        ((60_000, 70_000), MAX_FORGIVEN_MS, -60_000),
    ],
    ids=["nothing", "this clock is ahead", "well", "this clock is behind", "one producer is ahead", "far ahead"],
)
def test_what_all_records_agree_on_is_a_difference_of_clocks(
    observed_ms: tuple[int, ...], usual_ms: int, skew_ms: int | None
) -> None:
    """The youngest is as old as the clocks differ; a bounded part of it is forgiven, and nothing is ever charged."""
    watched = ages(*observed_ms)
    assert (watched.usual_ms(), watched.skew_ms()) == (usual_ms, skew_ms)


def test_a_clock_that_is_set_right_is_noticed() -> None:
    """A smaller age counts at once, a larger one when the windows with the smaller are over."""
    watched = ages(1_000)
    watched.observe(2, 1.0)
    assert watched.usual_ms() == 2
    for second in range(2, 2 + 2 * int(WINDOW_SECONDS)):
        watched.observe(1_000, second)
    assert watched.usual_ms() == 1_000


@pytest.mark.parametrize(
    ("age_ms", "said"), [(DISAGREE_MS, None), (DISAGREE_MS + 1, "ahead"), (-DISAGREE_MS - 1, "behind")]
)
def test_plainly_wrong_clocks_are_named(age_ms: int, said: str | None) -> None:
    """More than five minutes, by all records; which of the clocks is wrong, nobody knows."""
    told = ages(age_ms).disagreement(0.0)
    assert told is None if said is None else said in (told or "")
    assert ages(age_ms, 0).disagreement(0.0) is None


def test_a_record_of_long_ago_accuses_no_clock() -> None:
    """It may have come late by itself; with nothing else to go by, the doubt ends."""
    watched = ages(2 * DISAGREE_MS)
    assert watched.disagreement(BELIEVED_SECONDS) is not None
    assert watched.disagreement(BELIEVED_SECONDS + 1) is None
