"""The reports of checks on the Bus, `<model>/checks/<version>.json` with a page and Markdown beside it."""

from typing import Final

import msgspec
import structlog

from agents.reports.checks import markdown, page
from schemas.bus import ArtifactBus
from schemas.check_report import CheckReport
from schemas.ids import ModelVersion

_FOLDER: Final = "checks"
_MAX_REPORT_BYTES: Final = 8 << 20

log = structlog.get_logger(__name__)


class CheckReports:
    """The reports on one model's releases. All methods raise BusError."""

    def __init__(self, bus: ArtifactBus, model: str) -> None:
        self._bus = bus
        self._folder = f"{model}/{_FOLDER}"

    def all(self) -> list[CheckReport]:
        """Read all, by name; one that cannot be read is logged and left out."""
        names = sorted(found.name for found in self._bus.find(self._folder) if found.name.endswith(".json"))
        reports = (self._read(name) for name in names)
        return [report for report in reports if report is not None]

    def of(self, version: ModelVersion) -> CheckReport | None:
        """Read the report on a release; None where it was not checked, or its report cannot be read."""
        return self._read(f"{self._folder}/{version}.json")

    def write(self, report: CheckReport) -> None:
        """Write the report in all forms, the JSON last."""
        content = msgspec.json.format(msgspec.json.encode(report), indent=2)
        for suffix, text in (("md", markdown(report).encode()), ("html", page(report).encode()), ("json", content)):
            self._bus.write(f"{self._folder}/{report.version}.{suffix}", text)

    def _read(self, name: str) -> CheckReport | None:
        content = self._bus.read(name, _MAX_REPORT_BYTES)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=CheckReport)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("check_report_left_out", name=name, reason=str(error))
            return None
