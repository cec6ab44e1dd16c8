"""The reports of checks in a folder, `checks/<version>.json` with a page and Markdown beside it."""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from agents.reports.checks import markdown, page
from schemas.check_report import CheckReport
from session_model.files import write_whole

FOLDER: Final = "checks"
log = structlog.get_logger(__name__)


def read_reports(out: Path) -> list[CheckReport]:
    """Read the reports in `out`; one that cannot be read is named and left out."""
    found = list[CheckReport]()
    for path in sorted((out / FOLDER).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=CheckReport))
        except msgspec.DecodeError as error:
            log.warning("check_report_left_out", file=str(path), reason=str(error))
    return found


def write_report(report: CheckReport, out: Path) -> None:
    """Write the report in all forms, the JSON last; raises OSError."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(report), indent=2)
    for suffix, text in (("md", markdown(report).encode()), ("html", page(report).encode()), ("json", content)):
        write_whole(folder / f"{report.version}.{suffix}", lambda file, text=text: file.write(text))  # type: ignore[misc]
