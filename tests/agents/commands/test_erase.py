"""What `insession erase` makes of its options; on a real broker: tests/kafka/test_erase.py."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from agents.commands import erase
from agents.upkeep.erasure_report import Place, elsewhere
from schemas.errors import UsageError
from schemas.ids import MAX_ID_BYTES, VisitorId
from streams.state.search import StateSurvey

COOKIE = VisitorId("cookie-of-ada")


class FakeErasure:
    """A deployment with a state of each id, and a cookie that became the first of them."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def __call__(self, *_: Any) -> "FakeErasure":
        """Begin a run."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def look(self, asked: Iterable[VisitorId]) -> StateSurvey:
        """Find a state of each."""
        whole = set(asked)
        self.done.append(sorted(whole))
        return StateSurvey(whole, states={(0, one) for one in whole})

    def report(self, _found: StateSurvey) -> list[Place]:
        """Return what is there."""
        self.done.append("report")
        return self._places(remains=2)

    def request(self, _found: StateSurvey, blocked_until_ms: int, timeout_seconds: float) -> set[VisitorId]:
        """Erase; the workers add the cookie."""
        self.done.append(("request", blocked_until_ms > 0, timeout_seconds))
        return {COOKIE}

    def clean(self, found: StateSurvey, blocked_until_ms: int, *, delete_dead_letters: bool) -> list[Place]:
        """Clean up."""
        self.done.append(("clean", sorted(found.ids), blocked_until_ms > 0, delete_dead_letters))
        return self._places(remains=0)

    @staticmethod
    def _places(remains: int) -> list[Place]:
        return [Place(place="changelog", found=2, done="erased", remains=remains, until_ms=86_400_000), *elsewhere()]


@pytest.fixture
def erasure(monkeypatch: pytest.MonkeyPatch) -> FakeErasure:
    """Put a fake deployment under the command."""
    fake = FakeErasure()
    monkeypatch.setattr(erase, "Erasure", fake)
    return fake


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(erase.command, arguments, input=given, env={"COLUMNS": "200"})


def test_a_dry_run_changes_nothing_and_does_not_ask(erasure: FakeErasure) -> None:
    """It tells what is there."""
    told = run("ada", "--dry-run")
    assert (told.exit_code, erasure.done) == (0, [["ada"], "report"])
    assert "nothing was changed" in told.output
    assert "changelog" in told.output


def test_it_asks_before_it_erases(erasure: FakeErasure) -> None:
    """Without a yes nothing happens, and that is no success."""
    told = run("ada", given="n\n")
    assert (told.exit_code, erasure.done) == (1, [["ada"]])
    assert "Erase 1 ids with 1 states" in told.output
    assert run("ada", given="y\n").exit_code == 0
    assert erasure.done[2:] == [("request", True, 300), ("clean", sorted(["ada", COOKIE]), True, False)]


def test_the_report_is_one_json_object_without_the_ids(erasure: FakeErasure) -> None:
    """It is what is kept of a request, and must not name who was erased."""
    told = run("ada", "--yes", "--json", "--delete-dead-letters", "--timeout", "10s")
    report = json.loads(told.stdout)
    assert (report["ids"], report["linked_ids"], report["is_erased"]) == (1, 1, True)
    assert report["blocked_until"] > "2026"
    assert report["places"][0] == {
        "place": "changelog",
        "found": 2,
        "done": "erased",
        "remains": 0,
        "until": "1970-01-02T00:00:00Z",
        "note": "",
    }
    assert erasure.done[1:] == [("request", True, 10), ("clean", sorted(["ada", COOKIE]), True, True)]
    assert not any(one in told.output for one in ("ada", COOKIE))


def test_without_a_block_it_says_so(erasure: FakeErasure) -> None:
    """For who wants to begin anew at once."""
    told = run("ada", "--yes", "--no-block")
    assert "not blocked" in told.output
    assert erasure.done[1] == ("request", False, 300)
    assert json.loads(run("ada", "--yes", "--no-block", "--json").stdout)["blocked_until"] is None


def test_ids_come_from_a_file_or_from_stdin_one_a_line(erasure: FakeErasure, tmp_path: Path) -> None:
    """Empty lines are passed over, repeats count once, blanks are part of an id."""
    file = tmp_path / "ids.txt"
    file.write_text("ada\r\n\n b b \nada\n")
    for arguments, given in (
        (["--from-file", str(file)], None),
        (["-"], "ada\n b b \n"),
        (["--from-file", "-"], "ada\n b b "),
    ):
        assert run(*arguments, "--dry-run", given=given).exit_code == 0
        assert erasure.done[-2] == [" b b ", "ada"]


@pytest.mark.parametrize(
    ("arguments", "given", "why"),
    [
        ([], None, "name at least one visitor"),
        (["--from-file", "-", "--yes"], "\n\n", "name at least one visitor"),
        (["-"], "ada\n", "add --yes or --dry-run"),
        (["ada", "--from-file", "-"], "ada\n", "not both"),
        (["-", "--yes"], b"\xff\xfe", "no UTF-8 text"),
        (["ada" * MAX_ID_BYTES, "--yes"], None, f"more than {MAX_ID_BYTES} bytes"),
        (["\u00e9" * MAX_ID_BYTES, "--yes"], None, f"more than {MAX_ID_BYTES} bytes"),
        (["-", "--yes"], "a\0da\n", "is no text"),
        (["ada\udcff", "--yes"], None, "is no text"),
        (["-", "--yes"], "".join(f"{number}\n" for number in range(erase.MAX_IDS + 1)), "1,001 ids: at most 1,000"),
    ],
)
def test_what_names_no_visitor_is_wrong_usage(
    erasure: FakeErasure, arguments: Sequence[str], given: str | bytes | None, why: str
) -> None:
    """Nothing is asked of the brokers, and no id is repeated."""
    told = run(*arguments, given=given)
    assert isinstance(told.exception, UsageError)
    assert why in str(told.exception)
    assert (erasure.done, "ada" in str(told.exception)) == ([], False)
