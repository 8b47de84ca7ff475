"""Logs and metrics: JSON lines on stderr without secrets, and the one registry of metrics.

Owns what leaves the process for operators. Every value that is logged passes through `redact`, also inside nested
values and exceptions; metrics are declared by those who count, on `REGISTRY`, and shown by `exposition`.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from structlog.types import EventDict, Processor, WrappedLogger

MASK = "[redacted]"
REGISTRY = CollectorRegistry(auto_describe=True)
_SECRET_NAME = re.compile(
    r"(^|[-_.])(authorization|password|passwd|secret|pepper|cookie|credentials?|(api|access|private|master|signing)[-_]?key"
    r"|(access|refresh|bearer|auth|id|setup|session)?[-_]?token)s?$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"""(charkha_[a-z]{2,8}_)?[0-9a-f]{32}\.[0-9a-f]{32}\.[A-Za-z0-9_\-]{6,}  # sign-in links and cookies of the console
      | charkha_[a-z]{2,8}_[A-Za-z0-9_\-]{6,}      # our own keys, wherever they stand
      | \bsk-[A-Za-z0-9_\-]{8,}                      # keys of other services
      | (?<=[Bb]earer\ )[^\s"',;]+
      | (?<=[Bb]asic\ )[A-Za-z0-9+/=]{6,}
      | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)              # credentials in an address
      | -----BEGIN[A-Z ]*PRIVATE\ KEY-----[\s\S]*?(-----END[A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE,
)
_DEEPEST = 8


def configure(level: str = "info", *, json_lines: bool | None = None, **bound: str) -> None:
    """Set logging up for this process; `bound` (the part's name, its instance) stands in every line.

    JSON lines unless stderr is a terminal, or as `json_lines` says. The standard library's loggers go the same way.
    """
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        final += [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    else:
        final += [structlog.processors.format_exc_info, redact, structlog.dev.ConsoleRenderer()]
    _route_to_stderr(level, structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[*shared], processors=final))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("rollout.advanced", share=10)`. The first word says what happened; the rest are fields."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The structlog processor that lets no secret out."""
    return {key: redacted(value, key) for key, value in event.items()}


def redacted(value: Any, name: str = "", depth: int = 0) -> Any:
    """`value` with every secret replaced: by the name of the field that holds it, or by its look."""
    if _SECRET_NAME.search(name) and not isinstance(value, bool | int | float | None):
        return MASK
    if isinstance(value, bool | int | float | None):
        return value
    if depth >= _DEEPEST:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {redacted_text(str(key)): redacted(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, "", depth + 1) for item in value]
    return redacted_text(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def redacted_text(text: str) -> str:
    """`text` without keys, tokens and passwords in addresses."""
    return _SECRET_TEXT.sub(MASK, text)


def exposition() -> tuple[bytes, str]:
    """All metrics and their content type. With several gateway processes, set PROMETHEUS_MULTIPROC_DIR to add them up."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _route_to_stderr(level: str, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn.access"):  # they name addresses and headers
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
