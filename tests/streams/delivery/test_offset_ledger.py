from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.offset_ledger import Account, OffsetLedger


def test_every_input_is_answered_dead_lettered_ignored_or_lost() -> None:
    """One of each; an offset without an input, as behind an aborted transaction, is nothing."""
    ledger = OffsetLedger(range(10, 16))
    for offset in (10, 11, 12, 13):
        ledger.read(offset, owes_record=offset != 12)
    ledger.answered(10)
    ledger.dead_lettered(11)
    assert ledger.account() == Account(inputs=4, answered=1, dead_lettered=1, ignored=1, lost=1)
    assert ledger.lost(5) == [13]


def test_what_has_more_than_one_record_is_told_apart() -> None:
    """Twice the same, or one of each kind; both were answered once."""
    ledger = OffsetLedger(range(3))
    for offset in range(3):
        ledger.read(offset, owes_record=True)
        ledger.answered(offset)
    ledger.answered(0)
    ledger.answered(0)
    ledger.dead_lettered(1)
    assert ledger.account() == Account(inputs=3, answered=3, twice=2, answered_and_dead_lettered=1)


def test_what_an_earlier_mapping_did_not_ignore_is_told_apart() -> None:
    """It has a record, and today's mapping would give it none."""
    ledger = OffsetLedger(range(2))
    ledger.read(0, owes_record=False)
    ledger.read(1, owes_record=False)
    ledger.answered(0)
    ledger.dead_lettered(1)
    assert ledger.account() == Account(inputs=2, answered=1, dead_lettered=1, ignored_with_record=2)


def test_records_of_other_offsets_count_nothing() -> None:
    """Those outside the range; one inside it without an input is told."""
    ledger = OffsetLedger(range(5, 7))
    for offset in (4, 6, 7):
        ledger.answered(offset)
        ledger.dead_lettered(offset + 10)
    assert ledger.account() == Account(without_input=1)
    assert ledger.lost(5) == []


@given(st.lists(st.tuples(st.sampled_from(["ignored", "owed"]), st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_the_parts_make_the_whole(inputs: list[tuple[str, int, int]]) -> None:
    """Whatever has come, each input is in exactly one of the four."""
    ledger = OffsetLedger(range(100, 100 + len(inputs)))
    for offset, (kind, answers, letters) in enumerate(inputs, start=100):
        ledger.read(offset, owes_record=kind == "owed")
        for _ in range(answers):
            ledger.answered(offset)
        for _ in range(letters):
            ledger.dead_lettered(offset)
    account = ledger.account()
    assert account.inputs == len(inputs) == account.answered + account.ignored + account.dead_lettered + account.lost
    assert len(ledger.lost(len(inputs))) == account.lost
    assert account.twice == sum(answers + letters > 1 for _, answers, letters in inputs)
