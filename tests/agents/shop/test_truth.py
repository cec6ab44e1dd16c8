"""The ledger of truths."""

from agents.shop.truth import Truth, TruthLedger
from schemas.ids import EventId


def _truth(name: str, *, is_duplicate: bool = False) -> Truth:
    return Truth(
        event_id=EventId(name),
        session_number=1,
        intent="browse",
        purchase_follows=False,
        next_item_id=None,
        is_bot=False,
        is_duplicate=is_duplicate,
        is_late=False,
        flash_sale=None,
    )


def test_a_duplicate_leaves_the_first_truth() -> None:
    """The ledger keeps what was true of the first arrival."""
    ledger = TruthLedger()
    ledger.record(_truth("a"))
    ledger.record(_truth("a", is_duplicate=True))
    assert ledger.truth_of(EventId("a")) == _truth("a")
    assert len(ledger) == 1


def test_the_oldest_is_forgotten_beyond_capacity() -> None:
    """A full ledger forgets in order of recording."""
    ledger = TruthLedger(capacity=2)
    for name in "abc":
        ledger.record(_truth(name))
    assert [ledger.truth_of(EventId(name)) is None for name in "abc"] == [True, False, False]
