"""Are the settings valid, who gave them, and is what they allow wise."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from agents.configuration.reading import Reading
from agents.doctor.findings import Finding, error, ok, warning
from agents.settings import Settings, warnings_of

_GIVERS: Final = {"file": "the file", "variable": "the environment", "option": "the command line"}


def settings_findings(reading: Reading[Settings]) -> Iterator[Finding]:
    """Report every wrong setting; where there is none, who gave how many, and what is unwise."""
    if reading.settings is None:
        remedy = "mend it where it is given; `insession config template` shows every setting"
        yield from (error("settings", problem, remedy) for problem in reading.problems)
        return
    counts = Counter[str](origin.kind for origins in reading.origins.values() for origin in origins)
    given = ", ".join(f"{counts[kind]} by {giver}" for kind, giver in _GIVERS.items() if counts[kind])
    yield ok("settings", f"valid; {given or 'all are defaults'}")
    for text in reading.warnings:
        message, _, remedy = text.rpartition(": ")
        yield warning("settings", message, remedy)
    for text in warnings_of(reading.settings):
        message, _, remedy = text.partition(": ")
        yield warning("security", message, remedy)
