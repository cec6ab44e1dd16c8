import pytest

from schemas.times import TimeReader


@pytest.mark.parametrize("value", [7, 1.5, True, [], {}, None, "soon"])
def test_what_is_no_text_of_the_pattern_is_refused(value: object) -> None:
    """Whatever a shop writes there, it is a ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"is no %d\.%m\.%Y time"):
        TimeReader("%d.%m.%Y").ms(value)


def test_a_pattern_of_digits_reads_a_number() -> None:
    """20260105120000 is a number in some shops and a text in others."""
    reader = TimeReader("%Y%m%d%H%M%S")
    assert reader.ms(20260105120000) == reader.ms("20260105120000") == 1_767_614_400_000
