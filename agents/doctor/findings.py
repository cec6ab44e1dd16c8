"""What a check found: one line, how bad it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. `unchecked`: something else must be right first, or there is nothing to look at."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `remedy` is empty where nothing need be done."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Return a finding of what works now and will hurt later."""
    return Finding(check, Level.WARNING, message, remedy)


def error(check: str, message: str, remedy: str) -> Finding:
    """Return a finding of what does not work."""
    return Finding(check, Level.ERROR, message, remedy)


def unchecked(check: str, why: str, remedy: str = "") -> Finding:
    """Return why nothing can be said."""
    return Finding(check, Level.UNCHECKED, why, remedy)
