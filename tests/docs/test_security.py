import re
from pathlib import Path

import pytest

from agents.settings import read_settings

EXAMPLES = re.findall(
    r"```toml\n(.*?)```", (Path(__file__).parents[2] / "docs" / "security.md").read_text(), flags=re.DOTALL
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_wrong_in_nothing_but_its_files(tmp_path: Path, example: str) -> None:
    """Every key is a setting and every value one that it takes; the files are the reader's own."""
    file = tmp_path / "insession.toml"
    (tmp_path / "secret").write_text("p" * 32)
    file.write_text(re.sub(r"/run/secrets/[\w-]+", str(tmp_path / "secret"), example))
    problems = read_settings(file=file, environment={}).problems
    assert [problem for problem in problems if "there is no file /etc/insession/" not in problem] == []
