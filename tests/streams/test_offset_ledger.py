from schemas.state import InputPosition
from streams.offset_ledger import SHOWN_LOST, Balance, OffsetLedger


def ledger_of(owed: range, ignored: range = range(0), topic: str = "my-shop-clicks") -> OffsetLedger:
    """Open the books on partition 3 of a topic."""
    ledger = OffsetLedger({topic: {3: range(10, 100)}})
    for offset in (*owed, *ignored):
        ledger.read(InputPosition(topic, 3, offset), is_ignored=offset in ignored)
    return ledger


def test_every_input_is_answered_ignored_dead_lettered_or_lost() -> None:
    """One record each, or none where it is not for us."""
    ledger = ledger_of(owed=range(10, 14), ignored=range(14, 16))
    ledger.answered("my-shop-clicks-3-10")
    ledger.answered("my-shop-clicks-3-11")
    ledger.dead_lettered("my-shop-clicks-3-12")
    assert ledger.balance() == Balance(
        inputs=6, answered=2, ignored=2, dead_lettered=1, lost=1, lost_ids=("my-shop-clicks-3-13",)
    )


def test_what_came_more_than_once_is_told() -> None:
    """A repeated record is no second input; nor is a dead letter beside an answer."""
    ledger = ledger_of(owed=range(10, 13))
    for record_id in ("my-shop-clicks-3-10", "my-shop-clicks-3-10", "my-shop-clicks-3-11"):
        ledger.answered(record_id)
    for record_id in ("my-shop-clicks-3-11", "my-shop-clicks-3-12", "my-shop-clicks-3-12"):
        ledger.dead_lettered(record_id)
    assert ledger.balance() == Balance(inputs=3, answered=2, dead_lettered=1, twice=2, both=1)


def test_a_mapping_that_has_changed_is_told() -> None:
    """What it ignores today and was answered then is answered."""
    ledger = ledger_of(owed=range(0), ignored=range(10, 12))
    ledger.answered("my-shop-clicks-3-10")
    assert ledger.balance() == Balance(inputs=2, answered=1, ignored=1, though_ignored=1)


def test_what_is_not_in_the_books_is_passed_over() -> None:
    """Records of other inputs, and ids that are not ours."""
    ledger = ledger_of(owed=range(5, 12))
    for record_id in ("my-shop-clicks-3-9", "my-shop-clicks-2-11", "clicks-3-11", "", "x", "-", "my-shop-clicks-3-x"):
        ledger.answered(record_id)
        ledger.dead_lettered(record_id)
    assert ledger.balance().lost_ids == ("my-shop-clicks-3-10", "my-shop-clicks-3-11")


def test_no_more_lost_ones_are_named_than_one_looks_at() -> None:
    """All are counted."""
    balance = ledger_of(owed=range(10, 100)).balance()
    assert (balance.lost, len(balance.lost_ids)) == (90, SHOWN_LOST)
