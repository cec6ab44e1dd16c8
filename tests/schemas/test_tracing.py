import pytest

from schemas.tracing import TraceContext, leading, read_trace, root_context

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()


def test_a_valid_traceparent_is_read() -> None:
    """The ids and the flags of the caller's span come out; other headers do not matter."""
    context, malformed = read_trace([("h", b"1"), ("traceparent", PARENT)])
    assert context == TraceContext(TRACE_ID, SPAN_ID, 1)
    assert context.is_sampled
    assert context.headers() == [("traceparent", PARENT)]
    assert not malformed


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        PARENT.upper(),
        PARENT + b"-00",
        PARENT[:-1],
        PARENT + b"\n",
        b"ff" + PARENT[2:],
        b"0x" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN_ID}-01".encode(),
        f"00-{TRACE_ID}-{'0' * 16}-01".encode(),
    ],
)
def test_a_malformed_traceparent_is_named_and_ignored(value: bytes) -> None:
    """Wrong case, length, version or ids of nothing but zeros: no trace, and the state with it is not looked at."""
    headers = [("traceparent", value), ("tracestate", b"a=b")]
    assert read_trace(headers) == (None, frozenset({"traceparent"}))


def test_two_traceparents_are_malformed() -> None:
    """Nobody can say which is the caller."""
    assert read_trace([("traceparent", PARENT)] * 2) == (None, frozenset({"traceparent"}))


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """What follows the flags, and the flags without a meaning yet, are not handed on."""
    context, _ = read_trace([("traceparent", f"01-{TRACE_ID}-{SPAN_ID}-ff-more".encode())])
    assert context is not None
    assert context.traceparent == f"00-{TRACE_ID}-{SPAN_ID}-03"


@pytest.mark.parametrize("state", [b"a=1", b"vendor@system=x y,rojo=00f067aa0ba902b7", b"a=1 ,\tb=2,", b"k*/-_9=!~"])
def test_a_valid_tracestate_goes_on_unchanged(state: bytes) -> None:
    """Not a byte of it is ours to change."""
    context, malformed = read_trace([("traceparent", PARENT), ("tracestate", state)])
    assert context is not None
    assert context.headers()[1] == ("tracestate", state)
    assert not malformed


@pytest.mark.parametrize(
    "state", [b"a", b"A=1", b"a=1,a=2", b"a=\x01", b"a=b=c", b"\xc3\xa4=1", b",".join(b"k%d=1" % n for n in range(33))]
)
def test_a_malformed_tracestate_leaves_the_trace_in_force(state: bytes) -> None:
    """Bad keys, doubled keys, control characters, more than 32 members: the state is dropped, the trace goes on."""
    context, malformed = read_trace([("traceparent", PARENT), ("tracestate", state)])
    assert context == TraceContext(TRACE_ID, SPAN_ID, 1)
    assert malformed == {"tracestate"}


def test_several_tracestate_headers_are_one() -> None:
    """They are joined in their order."""
    context, _ = read_trace([("traceparent", PARENT), ("tracestate", b"a=1"), ("tracestate", b"b=2")])
    assert context is not None
    assert context.tracestate == "a=1,b=2"


def test_a_child_is_the_same_each_time_and_another_for_each_name() -> None:
    """A replayed record gets the same span id; trace, flags and state stay."""
    context = TraceContext(TRACE_ID, SPAN_ID, 1, "a=1")
    child = context.child("clickstream-0-7")
    assert child == context.child("clickstream-0-7")
    assert (child.trace_id, child.flags, child.tracestate) == (TRACE_ID, 1, "a=1")
    assert len({child.span_id, context.child("clickstream-0-8").span_id, SPAN_ID}) == 3


def test_a_new_trace_is_valid_and_repeatable() -> None:
    """It reads back as what it is."""
    root = root_context("clickstream-0-7@1", is_sampled=False)
    assert root == root_context("clickstream-0-7@1", is_sampled=False)
    assert read_trace(root.headers()) == (root, frozenset())
    assert not root.is_sampled


def test_a_call_for_many_goes_on_in_the_first_sampled_trace() -> None:
    """Else in the first; without any trace in none."""
    unsampled, sampled = TraceContext(TRACE_ID, SPAN_ID, 0), TraceContext(TRACE_ID, SPAN_ID, 1)
    assert leading([unsampled, sampled, sampled]) is sampled
    assert leading([unsampled]) is unsampled
    assert leading([]) is None
