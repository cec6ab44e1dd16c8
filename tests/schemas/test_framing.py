from hypothesis import given
from hypothesis import strategies as st

from schemas.framing import Framed, frame, unframe


@given(st.integers(0, 2**32 - 1), st.binary(max_size=50))
def test_a_frame_comes_off_as_it_was_put_on(schema_id: int, payload: bytes) -> None:
    """Every id of four bytes and every payload come back, the empty one included."""
    assert unframe(frame(schema_id, payload)) == Framed(schema_id, payload)


def test_json_and_short_values_have_no_frame() -> None:
    """A frame begins with a zero byte, which no JSON does, and has five bytes."""
    assert unframe(b'{"visitor_id": "v"}') is None
    assert unframe(b"\x00\x00\x00\x01") is None
    assert unframe(b"") is None
