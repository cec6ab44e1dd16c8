"""Structured logs: one JSON object a line on stderr, our own and the libraries' alike."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict

from agents.log_limit import SUMMARY_FIELDS, LimitedHandler
from schemas.secret import masked

_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


_JSON = structlog.processors.JSONRenderer()
ROOMS = ("agents", "streams", "serving", "session_model")
"""Whose lines have the level of the setting; of everything else warnings are written."""


def configure_logs(level: str = "INFO") -> None:
    """Send everything to stderr as JSON lines, repeats within bounds; of the libraries warnings only."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = LimitedHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render,
            ],
            foreign_pre_chain=[
                *_SHARED,
                structlog.stdlib.ExtraAdder(SUMMARY_FIELDS),
                structlog.processors.format_exc_info,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for room in ROOMS:
        logging.getLogger(room).setLevel(level)


def _render(logger: Any, method: str, event: EventDict) -> str:
    """Write the line, addresses in it masked: a library's message names them, too."""
    return masked(str(_JSON(logger, method, event)))
