from agents.clicks.shown_answers import ShownAnswers
from schemas.ids import ItemId, SessionId
from schemas.state import AnswerRef, ShownAnswer


def answer(offset: int) -> ShownAnswer:
    """Make the answer to an offset."""
    return ShownAnswer(AnswerRef(offset, 0, "knn", None, None), SessionId("s"), (ItemId("i"),))


def test_an_answer_is_given_once() -> None:
    """Whoever takes it writes it into the state; a second event finds nothing new."""
    shown = ShownAnswers()
    shown.keep(0, b"v", answer(3))
    assert [shown.take(0, b"v"), shown.take(0, b"v"), shown.take(0, b"w")] == [answer(3), None, None]


def test_the_answer_to_the_latest_event_is_kept() -> None:
    """An answer that was overtaken does not come back; one to the same event, asked again, does."""
    shown = ShownAnswers()
    for offset in (3, 5, 4):
        shown.keep(0, b"v", answer(offset))
    assert shown.take(0, b"v") == answer(5)


def test_the_oldest_answer_is_forgotten_first() -> None:
    """The memory is bounded; a visitor with a new answer is the youngest again."""
    shown = ShownAnswers(max_answers=2)
    for offset, key in enumerate((b"a", b"b", b"a", b"c")):
        shown.keep(0, key, answer(offset))
    assert [shown.take(0, key) for key in (b"a", b"b", b"c")] == [answer(2), None, answer(3)]


def test_a_partition_that_goes_takes_its_answers_along() -> None:
    """The other partitions keep theirs, of visitors with the same key too."""
    shown = ShownAnswers()
    shown.keep(0, b"v", answer(1))
    shown.keep(1, b"v", answer(2))
    shown.drop_partition(0)
    assert [shown.take(0, b"v"), shown.take(1, b"v")] == [None, answer(2)]
