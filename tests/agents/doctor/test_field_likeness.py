import pytest

from agents.doctor.field_likeness import EVENT_WORDS, NAMES, can_be, event_type_of, name_likeness, squeezed, time_format
from agents.doctor.json_facts import PathFacts
from schemas.events import EVENT_TYPES
from schemas.mapping import FIELDS


def values(*given: object) -> PathFacts:
    """Return the facts of a path that held these values."""
    found = PathFacts("p", is_list=False)
    for value in given:
        found.add(value)
    return found


@pytest.mark.parametrize("name", ["visitorId", "visitor_id", "visitor-id", "Visitor ID"])
def test_separators_and_case_mean_nothing(name: str) -> None:
    """Every shop writes them another way."""
    assert squeezed(name) == "visitorid"
    assert name_likeness("visitor_id", f"a.{name}") == 1


def test_the_last_two_parts_may_be_one_name() -> None:
    """`product.id` is a product id; a misspelt name still looks alike; another does not."""
    assert name_likeness("item_id", "product.id") > 0.9
    assert 0.5 < name_likeness("item_id", "prodcut_id") < 0.7
    assert name_likeness("item_id", "colour") == 0
    assert name_likeness("device", "device_id") == 0
    assert name_likeness("item_id", "products[].id") > 0.9
    assert name_likeness("session_id", "params[key=session_id].value.int_value") == 1


def test_every_name_and_word_can_match() -> None:
    """The tables are about our fields and types, and hold squeezed names only."""
    assert set(NAMES) < set(FIELDS)
    assert set(EVENT_WORDS) == EVENT_TYPES
    for words in (*NAMES.values(), *EVENT_WORDS.values()):
        assert [squeezed(word) for word in words] == list(words)


def test_no_word_means_two_event_types() -> None:
    """Otherwise the order of the table would decide."""
    words = [word for several in EVENT_WORDS.values() for word in several]
    assert len(words) == len(set(words))
    assert (event_type_of("Product Added"), event_type_of("wink")) == ("cart", None)
    assert event_type_of("com.example.product.viewed.v1") == "view"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, "auto"),
        ("1700000000", "auto"),
        (1_700_000_000.25, "auto"),
        (1_700_000_000_000, "auto"),
        (1_700_000_000_000_000, "auto"),
        (1_700_000_000_000_000_000, "auto"),
        ("2023-11-14T22:13:20Z", "auto"),
        ("2023-11-14 22:13:20", "auto"),
        ("14.11.2023 22:13", "%d.%m.%Y %H:%M"),
        ("20231114221320", "%Y%m%d%H%M%S"),
        (True, None),
        (7, None),
        ("soon", None),
    ],
)
def test_times_are_told_by_their_size_and_shape(value: object, expected: str | None) -> None:
    """A number by its unit, a text by its form; what has neither needs a pattern."""
    assert time_format(values(value)) == expected


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("visitor_id", ["a", 7], True),
        ("visitor_id", ["https://shop.example/ada"], False),
        ("visitor_id", ["x" * 128], True),
        ("visitor_id", ["x" * 129], False),
        ("visitor_id", [""], False),
        ("event_id", ["a", "a", "b"], False),
        ("event_id", ["a", "b"], True),
        ("event_type", ["view", "wink"], True),
        ("event_type", ["wink"], False),
        ("price", ["1.5", 2], True),
        ("price", [-1], False),
        ("price", [True], False),
        ("quantity", [1.5], True),
        ("quantity", ["2"], True),
        ("consent", [True, "FALSE"], True),
        ("consent", ["granted", "who knows"], True),
        ("consent", ["C0001"], False),
        ("query", [3], False),
        ("query", ["?utm_source=mail"], False),
        ("device", ["Mozilla/5.0 (X11)"] * 20, False),
        ("location", ["/sale"] * 20, False),
        ("location", [f"place {number}" for number in range(20)], False),
        ("location", ["NL"] * 20, True),
    ],
)
def test_values_that_cannot_be_the_fields_rule_a_path_out(field: str, given: list[object], *, expected: bool) -> None:
    """Whatever its name is."""
    assert can_be(field, values(*given)) is expected
