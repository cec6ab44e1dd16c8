"""The Prometheus and promtool that Debian packages, run for a test."""

import json
import math
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
import yaml

from schemas.child_process import ChildError, ChildProcess
from schemas.free_ports import free_port

CONFIG: Final = Path(__file__).parents[2] / "compose" / "prometheus" / "prometheus.yml"
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer; values: (Unix seconds, value), one of them for an instant query."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]


def require_tool(name: str) -> str:
    """Find a program; where it is missing, fail if tools are required, as in CI, and skip elsewhere."""
    path = shutil.which(name)
    if path is None:
        missing = f"there is no {name} on PATH; Debian's package prometheus has it"
        if os.environ.get("INSESSION_REQUIRE_TOOLS"):
            pytest.fail(f"INSESSION_REQUIRE_TOOLS is set: {missing}")
        pytest.skip(missing)
    return path


class Prometheus:
    """A Prometheus with the shipped rules, which scrapes `targets` (host:port by job) every two seconds.

    Entered, it answers; it dies with this process.
    """

    def __init__(self, program: str, folder: Path, targets: Mapping[str, str]) -> None:
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "2s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG.parent / rules) for rules in config["rule_files"]]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        folder.mkdir()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        self._command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self._address}",
        ]

    def __enter__(self) -> Self:
        self._child = ChildProcess("Prometheus", self._command, log_path=self._folder / "log")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()

    def query(self, expr: str) -> list[Series]:
        """Evaluate an expression now."""
        return self._ask("query", query=expr)

    def query_range(self, expr: str, start: float, end: float, step_seconds: float) -> list[Series]:
        """Evaluate an expression over a time."""
        return self._ask("query_range", query=expr, start=start, end=end, step=step_seconds)

    def wait_for(self, expr: str) -> None:
        """Wait until an expression gives a number."""
        try:
            self._child.wait_until(lambda: self._gives_number(expr), PATIENCE_SECONDS)
        except ChildError as error:
            raise AssertionError(f"no number for {expr}: {error}") from error

    def _gives_number(self, expr: str) -> bool:
        try:
            answer = self.query(expr)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it starts
                    return False
                raise AssertionError(error.read().decode()) from None
        except OSError:  # it does not listen yet
            return False
        return any(not math.isnan(value) for series in answer for _, value in series.values)

    def _ask(self, what: str, **parameters: object) -> list[Series]:
        with urllib.request.urlopen(
            f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}", timeout=10
        ) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return [
            Series(one["metric"], [(at, float(value)) for at, value in one.get("values") or [one["value"]]])
            for one in result
        ]
