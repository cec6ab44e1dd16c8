import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest
from msgspec import inspect

import schemas
from schemas import wire

KINDS = [
    kind
    for module in pkgutil.iter_modules(schemas.__path__)
    for kind in vars(importlib.import_module(f"schemas.{module.name}")).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == f"schemas.{module.name}"
]


def times(kind: object) -> Iterator[inspect.DateTimeType]:
    """Find the times in a type, however deep."""
    if isinstance(kind, inspect.DateTimeType):
        yield kind
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from times(one)
    elif isinstance(kind, inspect.Metadata):
        yield from times(kind.type)
    elif isinstance(kind, inspect.CollectionType | inspect.VarTupleType):
        yield from times(kind.item_type)
    elif isinstance(kind, inspect.DictType):
        yield from times(kind.value_type)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from times(field.type)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_record_is_read_with_a_time_of_an_unknown_zone(kind: type) -> None:
    """Who compares it with now would fail, long after whoever wrote it could be told."""
    assert all(time.tz for time in times(inspect.type_info(kind)))


def test_a_list_of_an_unknown_time_is_refused() -> None:
    """The message names the field."""
    text = (
        '{"items":[],"support_short":1,"support_long":1,"half_life_short_seconds":1,"half_life_long_seconds":1,'
        '"half_life_seconds":1,"strength":null,"event_time":"2026-01-01T00:00:00%s","updated_at":"2026-01-01T00:00:00Z"}'
    )
    assert wire.decode_trending((text % "Z").encode()).items == []
    with pytest.raises(msgspec.ValidationError, match=r"timezone component - at `\$\.event_time`"):
        wire.decode_trending((text % "").encode())
