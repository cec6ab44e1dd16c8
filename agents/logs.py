"""Structured logs: one JSON object a line on stderr, our own and the libraries' alike."""

import logging
import sys
from typing import Any

import structlog

from agents.log_limit import SUMMARY_FIELDS, LimitedHandler

_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


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
        cache_logger_on_first_use=True,
    )
    handler = LimitedHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(),
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
    for room in ("agents", "streams", "serving", "session_model"):
        logging.getLogger(room).setLevel(level)
