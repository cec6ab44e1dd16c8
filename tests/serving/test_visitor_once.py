from serving.visitor_once import VisitorOnce


def test_an_act_is_first_once() -> None:
    """Its parts are told apart; another visitor's is another one."""
    once = VisitorOnce()
    assert [once.is_first(*act) for act in (("a", "bc"), ("a", "bc"), ("ab", "c"), ("a", "bd"))] == [
        True,
        False,
        True,
        True,
    ]


def test_memory_is_bounded_and_nobody_is_left_out() -> None:
    """With one slot every other act takes the place of the last: it counts again, and never too little."""
    once = VisitorOnce(slots=1)
    assert [once.is_first(act) for act in ("a", "a", "b", "a")] == [True, False, True, True]
