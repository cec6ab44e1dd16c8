"""Log files of the generated shop."""

import gzip
from pathlib import Path

import msgspec

from agents.shop.settings import ShopSettings
from agents.shop.training_data import write_training_data
from agents.shop.truth import Truth
from schemas.events import ClickEvent


def test_the_log_holds_clicks_and_the_truth_lies_apart(tmp_path: Path) -> None:
    """Each line is a ClickEvent and nothing more; the truth file answers line by line."""
    seen: list[int] = []
    log = write_training_data(ShopSettings(), tmp_path / "log.jsonl", 2_500, seen.append, with_truth=True)
    clicks = msgspec.json.Decoder(ClickEvent).decode_lines(log.path.read_bytes())
    assert log.truth_path == tmp_path / "log.truth.jsonl"
    truths = msgspec.json.Decoder(Truth).decode_lines(log.truth_path.read_bytes())
    assert [click.event_id for click in clicks] == [truth.event_id for truth in truths]
    assert seen == [1_000, 2_000, 2_500]
    assert set(msgspec.json.decode(log.path.read_bytes().splitlines()[0])) <= set(ClickEvent.__struct_fields__)


def test_a_gz_suffix_packs_the_same_lines_into_equal_files(tmp_path: Path) -> None:
    """Two packed logs of one seed are equal files, and unpack to the plain log."""
    paths = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl")]
    for path in paths:
        write_training_data(ShopSettings(), path, 1_500)
    first, second, plain = (path.read_bytes() for path in paths)
    assert first == second
    assert gzip.decompress(first) == plain
