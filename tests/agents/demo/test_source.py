"""What the demo feeds, and what a model for it is trained on."""

import gzip
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from agents.demo.source import LIVE_BEGIN, LogOptions, ShopOptions, log_source, shop_source
from agents.shop.settings import ShopSettings
from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.events import ClickEvent
from tests.agents.demo.builders import click

START_MS = 1_600_000_000_000
SHOP = ShopOptions(settings=ShopSettings(n_items=240), training_events=300)


def _log(folder: Path, times_ms: list[int]) -> LogOptions:
    path = folder / "log.jsonl"
    path.write_bytes(b"\n".join(wire.encode(click(time_ms=START_MS + time_ms)) for time_ms in times_ms))
    return LogOptions(path=path, data_format="jsonl")


def _written(source_path: Path) -> list[ClickEvent]:
    return [msgspec.json.decode(line, type=ClickEvent) for line in gzip.open(source_path)]


def test_the_shop_goes_live_behind_its_training_data(tmp_path: Path) -> None:
    """The model has seen no event that is fed; the catalog describes the items."""
    source = shop_source(SHOP, with_training=True)
    assert source.training is not None
    counts: list[int] = []
    source.training.write(tmp_path / "training.jsonl.gz", counts.append)
    last_ms = max(event.event_time_ms for event in _written(tmp_path / "training.jsonl.gz"))
    live = list(islice(source.events(), 50))
    assert counts[-1] == SHOP.training_events
    assert min(event.click.event_time_ms for event in live) > last_ms
    assert live[0].due_ms >= SHOP.settings.start_ms + LIVE_BEGIN.total_seconds() * 1000
    assert all(event.truth is not None for event in live)
    assert 0 < len(source.catalog) <= SHOP.settings.n_items


def test_another_shop_has_another_key() -> None:
    """A model is kept for the data it was trained on and no other."""
    keys = [
        training.key
        for shop in (SHOP, SHOP, ShopOptions(settings=SHOP.settings, training_events=301))
        if (training := shop_source(shop, with_training=True).training) is not None
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_log_is_fed_whole_and_trained_on_its_earlier_part(tmp_path: Path) -> None:
    """Events come in event-time order; the moment of the cut is no training data, and is where scoring begins."""
    source = log_source(_log(tmp_path, [40_000, 10_000, 30_000, 20_000]), with_training=True)
    assert [event.due_ms - START_MS for event in source.events()] == [10_000, 20_000, 30_000, 40_000]
    assert source.training is not None
    source.training.write(tmp_path / "training.jsonl.gz", lambda _: None)
    assert [event.event_time_ms - START_MS for event in _written(tmp_path / "training.jsonl.gz")] == [10_000, 20_000]
    assert source.scored_from_ms == START_MS + 30_000
    assert source.training.is_fed_too


def test_a_log_of_one_moment_has_no_part_to_train_on(tmp_path: Path) -> None:
    """The message names the way out."""
    with pytest.raises(InsessionError, match="--models"):
        log_source(_log(tmp_path, [1, 1, 1]), with_training=True)


def test_with_a_model_of_ones_own_all_of_a_log_is_scored(tmp_path: Path) -> None:
    """Nothing is trained, so nothing is left out."""
    source = log_source(_log(tmp_path, [1, 1]), with_training=False)
    assert (source.training, source.scored_from_ms) == (None, 0)


def test_a_log_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """It is found out before anything is started."""
    with pytest.raises(UsageError, match="cannot be read"):
        log_source(LogOptions(path=tmp_path / "none", data_format="jsonl"), with_training=True)
