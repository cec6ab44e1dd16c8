from pathlib import Path

from tests.chaos.table import BEGIN, END, ChaosRow, documented, read_rows, with_rows, write_rows

DOCUMENT = f"before\n\n{BEGIN}\n{END}\n\nafter"


def row(fault: str, *, passed: bool = True, reason: str | None = None) -> ChaosRow:
    """Make a row of some counts."""
    return ChaosRow(
        fault,
        "none lost",
        "tests/chaos/test_x.py::test_y",
        events=1234,
        passed=passed,
        reason=reason,
        date="2026-01-02",
    )


def test_a_row_becomes_a_line_with_a_link_to_its_test() -> None:
    """Counts as they are, a day for what has passed, a reason for what has not."""
    lines = documented(with_rows(DOCUMENT, [row("a"), row("b", passed=False, reason="no | rights")]))
    assert lines["a"] == (
        "| [a](../tests/chaos/test_x.py) | none lost | 1 | 1,234 | 0 | 0 | 0 | - | - | - | 2026-01-02 |"
    )
    assert lines["b"].endswith("| not on 2026-01-02: no / rights |")


def test_rows_of_an_earlier_run_stay_in_the_document() -> None:
    """And all around the table."""
    first = with_rows(DOCUMENT, [row("long")])
    second = with_rows(first, [row("short")])
    assert list(documented(second)) == ["long", "short"]
    assert documented(second)["long"] == documented(first)["long"]
    assert second.startswith("before\n")
    assert second.endswith("\nafter")


def test_a_fault_that_was_never_tried_has_not_passed(tmp_path: Path) -> None:
    """In the file, with the reason; the document keeps what it has of it."""
    path = tmp_path / "chaos.json"
    write_rows(path, [row("a")], known=[row("a"), row("b")])
    a, b = read_rows(path)
    assert (a.passed, b.fault, b.passed, b.reason) == (True, "b", False, "not tried")
    assert list(documented(with_rows(DOCUMENT, [a, b]))) == ["a"]
    write_rows(path, [row("b")], known=[row("a"), row("b")])
    assert [one.passed for one in read_rows(path)] == [True, True]


def test_rows_that_were_not_tried_stay_in_the_file(tmp_path: Path) -> None:
    """With the date of their run; the others get today's."""
    path = tmp_path / "build" / "chaos.json"
    write_rows(path, [row("a"), row("b")])
    path.write_text(path.read_text().replace(read_rows(path)[0].date, "2026-01-01"))
    write_rows(path, [row("b")])
    dates = {one.fault: one.date for one in read_rows(path)}
    assert dates["a"] == "2026-01-01"
    assert dates["b"] > "2026-01-02"
