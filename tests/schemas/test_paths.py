from typing import Any

import pytest

from schemas.paths import MAX_LISTS, MAX_PATH_LENGTH, MAX_STEPS, in_line, lines_of, look_up, parse_path, text_of

EVENT = {
    "user": {"id": 7, "e.mail": "x"},
    "a b": 1,
    "list": [{"key": "lang", "value": "nl"}, {"key": "term", "value": "oak"}, {"key": 3, "value": "three"}],
    "ids": ["first", "second"],
    "text": '{"inner": {"deep": [1, 2]}}',
    "empty": {},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("user.id", 7),
        ('user."e.mail"', "x"),
        ("user.'e.mail'", "x"),
        ('user["e.mail"]', "x"),
        ("a b", 1),
        ("list[1].value", "oak"),
        ("list[-1].value", "three"),
        ("list[key=term].value", "oak"),
        ('list[key="term"].value', "oak"),
        ("list[key=3].value", "three"),
        ("ids[0]", "first"),
        ("text.inner.deep[1]", 2),
        ("ids[5]", None),
        ("ids[-5]", None),
        ("list[key=none].value", None),
        ("user[0]", None),
        ("user.id.more", None),
        ("ids.first", None),
        ("empty.nothing", None),
        ("nowhere", None),
    ],
)
def test_a_path_leads_to_one_value_or_nowhere(path: str, found: Any) -> None:
    """Names, quoted names, places, the object of a key, and JSON in a text on the way."""
    assert look_up(EVENT, parse_path(path).parts[-1]) == found


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "a.", ".a", "a..b", "a[", "a]", "a[x]", "a[1", "a[[1]]", '"a', "a'b", "a b.", "a[]b",
        "x" * (MAX_PATH_LENGTH + 1), ".".join("a" * (MAX_STEPS + 1)), "a[]" * (MAX_LISTS + 1),
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(path: str) -> None:
    """At the start, by a reason."""
    with pytest.raises(ValueError):  # noqa: PT011 - the setting's message says which path it is
        parse_path(path)


ORDER = {"id": 1, "parcels": [{"city": "Delft", "lines": [{"sku": "a"}, {"sku": "b"}]}, {"lines": {"sku": "c"}}]}


def test_the_lines_of_lists_in_lists_come_one_after_the_other() -> None:
    """Each with the objects around it; an object where a list is expected is a list of one, as XML leaves it."""
    sku, city, order_id = (parse_path(text) for text in ("parcels[].lines[].sku", "parcels[].city", "id"))
    lines = lines_of(ORDER, sku.lists, 10)
    assert [in_line(line, sku) for line in lines] == ["a", "b", "c"]
    assert [in_line(line, city) for line in lines] == ["Delft", "Delft", None]
    assert {in_line(line, order_id) for line in lines} == {1}
    assert in_line(lines[0], parse_path("other[].sku")) is None
    assert len(lines_of(ORDER, sku.lists, 2)) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (False, "false"), ("x", "x"), (None, None), ([], None)],
)
def test_numbers_and_booleans_have_one_text(value: Any, text: str | None) -> None:
    """It is what value maps and selections go by."""
    assert text_of(value) == text
