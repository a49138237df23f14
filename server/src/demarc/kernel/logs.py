"""Structured logs: every line carries its request id; secrets are cut out before a line is written."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from demarc.kernel.settings import LogFormat

_SECRET_NAMES = re.compile(
    r"pass(word|wd|phrase)?|secret|token|authorization|api_?key|credential|cookie|nt_hash|clear_text",
    re.IGNORECASE,
)
_SECRET_IN_TEXT = re.compile(
    r"(?i)(password|secret|token|authorization|bearer|api[_-]?key)([\"']?\s*[:= ]\s*[\"']?)((?:(?:bearer|basic)\s+)?[^\s\"',;&]+)|(://[^:/@\s]*:)([^@\s]+)(@)"
)
MASK = "[hidden]"


def redact_text(text: str) -> str:
    """Cut what looks like a credential out of free text (`password=…`, `Bearer …`, `scheme://user:…@host`)."""
    return _SECRET_IN_TEXT.sub(lambda m: f"{m[4]}{MASK}{m[6]}" if m[4] else f"{m[1]}{m[2]}{MASK}", text)


def _redact(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: MASK if _SECRET_NAMES.search(str(key)) else _redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(item) for item in value]
    return value


def redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets by name and by look (a structlog processor)."""
    return {key: MASK if _SECRET_NAMES.search(key) else _redact(value) for key, value in event.items()}


def configure_logging(log_format: LogFormat, level: str) -> None:
    """One line per event on standard error: readable or JSON. Libraries' records go the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # never the locals: they may be secrets
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "pgqueuer", "httpx", "mail.log"):
        logging.getLogger(noisy).setLevel("WARNING")
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
    logging.getLogger("asyncpg.pool").addFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    """The pool tells again and again that the database is away: the reason is enough, thirty lines of its inside hide the rest."""
    if record.exc_info and record.exc_info[0] is not None:
        record.msg, record.args = f"{record.getMessage()} ({record.exc_info[0].__name__})", ()
        record.exc_info = None
    return True


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one room."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound
