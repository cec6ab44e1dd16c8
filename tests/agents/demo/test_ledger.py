"""The account of inputs and records."""

from agents.demo.ledger import Ledger


def test_an_input_without_a_record_is_counted() -> None:
    """Two inputs with one record leave one without."""
    ledger = Ledger()
    ledger.sent(0, 0)
    ledger.sent(3, 0)
    assert ledger.recorded(3, 0)
    assert (ledger.inputs, ledger.with_record, ledger.without_record) == (2, 1, 1)


def test_an_id_that_came_three_times_is_one_duplicate_id() -> None:
    """Ids are counted, not records, and only the first record is the first."""
    ledger = Ledger()
    ledger.sent(0, 0)
    assert [ledger.recorded(0, 0) for _ in range(3)] == [True, False, False]
    assert ledger.duplicate_ids == 1
    assert ledger.without_record == 0


def test_an_input_is_known_once_it_was_booked() -> None:
    """What the broker has not acknowledged is not known, in any partition."""
    ledger = Ledger()
    ledger.sent(1, 0)
    assert ledger.knows(1, 0)
    assert not ledger.knows(1, 1)
    assert not ledger.knows(0, 0)


def test_an_ignored_input_is_to_have_no_record() -> None:
    """It is not lost, and a record of it is told."""
    ledger = Ledger()
    ledger.sent(0, 0, is_ignored=True)
    ledger.sent(0, 1)
    assert (ledger.inputs, ledger.ignored, ledger.without_record) == (2, 1, 1)
    assert not ledger.recorded(0, 0)
    assert (ledger.ignored_with_record, ledger.without_record) == (1, 1)
