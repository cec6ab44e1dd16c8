"""The encoder of the documents writes what training reads."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from session_model.data.vector_files import read_vectors
from tests.docs.documents import ROOT, blocks

TITLES = {"1": "Oak side table", "2": "Oak coffee table", "3": "Wool rug", "4": "Wollrug"}


def test_the_encoder_of_the_documents_writes_vectors(tmp_path: Path) -> None:
    """As it stands there; what is written alike is near."""
    (program,) = (block for block in blocks(ROOT / "docs" / "training.md") if block.info == "python")
    lines = (f'{{"item_id":"{item}","title":"{title}"}}\n' for item, title in TITLES.items())
    (tmp_path / "catalog.jsonl").write_text("".join(lines))
    subprocess.run([sys.executable, "-c", program.text], cwd=tmp_path, check=True)
    found = read_vectors(tmp_path / "looks.npy")
    assert list(found.item_ids) == list(TITLES)
    likeness = found.vectors @ found.vectors.T
    np.fill_diagonal(likeness, -1)
    assert np.argmax(likeness, axis=1).tolist() == [1, 0, 3, 2]
