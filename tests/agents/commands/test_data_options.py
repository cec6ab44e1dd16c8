from pathlib import Path

from agents.commands.data_options import read_options
from agents.settings import load_settings
from schemas.catalog_mapping import CatalogMapping
from schemas.mapping import FieldMapping


def test_files_are_read_by_the_mappings_of_the_workers_settings(tmp_path: Path) -> None:
    """Clicks and catalog alike, so that what is trained on is what is live."""
    config = tmp_path / "insession.toml"
    config.write_text('[clickstream.mapping.paths]\nitem_id = "sku"\n[catalog.mapping.paths]\navailable = "stock"\n')
    options = read_options([], [], load_settings(file=config))
    assert options.mapping == FieldMapping(paths={"item_id": "sku"})
    assert options.catalog_mapping == CatalogMapping(paths={"available": "stock"})
