from agents.web.connections import ANSWER_TIMEOUT_SECONDS, HEAD_TIMEOUT_SECONDS, Connections


def test_whoever_comes_to_ask_is_let_in_for_the_one_that_waits_longest() -> None:
    """However many hold the line, a newcomer has a place."""
    connections = Connections[int](most=3)
    assert [connections.opened(number, number) for number in range(3)] == [None, None, None]
    assert connections.opened(3, 3.0) == 0
    connections.closed(0)
    assert connections.opened(4, 4.0) == 1


def test_a_stream_keeps_its_place() -> None:
    """It was let in by its page; who comes while there is nothing but streams is cut."""
    connections = Connections[str](most=2)
    for name in ("a", "b"):
        connections.opened(name, 0.0)
        connections.asked(name, 0.0, is_stream=True)
    assert connections.opened("c", 1.0) == "c"
    assert connections.overdue(1e9) == ["c"]


def test_a_head_and_an_answer_have_their_time() -> None:
    """Who has not asked in time is cut, and who does not take the answer; a connection that went is nobody's."""
    connections = Connections[str]()
    connections.opened("slow", 0.0)
    connections.opened("quick", 0.0)
    connections.opened("gone", 0.0)
    connections.asked("quick", HEAD_TIMEOUT_SECONDS)
    connections.closed("gone")
    connections.asked("gone", 1.0)
    assert connections.overdue(HEAD_TIMEOUT_SECONDS) == []
    assert connections.overdue(HEAD_TIMEOUT_SECONDS + 0.1) == ["slow"]
    assert connections.overdue(HEAD_TIMEOUT_SECONDS + ANSWER_TIMEOUT_SECONDS + 0.1) == ["slow", "quick"]
    assert len(connections) == 2
