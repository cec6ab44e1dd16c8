import pytest

from schemas.errors import without_input


def test_an_error_is_told_without_the_bytes_that_it_read() -> None:
    """The `repr` of one that decodes holds all of them: a visitor's id would be in logs and dead letters' reasons."""
    with pytest.raises(UnicodeDecodeError) as raised:
        b"v-8f2c\xff".decode()
    assert "v-8f2c" in repr(raised.value)
    told = without_input(raised.value)
    assert told.startswith("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 6")
    assert "v-8f2c" not in told
