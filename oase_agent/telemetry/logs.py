"""How log lines look and where they go: one line a record on standard output, as text or JSON."""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

LOGGER_NAME = "oase_agent"
_TEXT_QUOTED = frozenset(" =\"'\\\t")


def configure_logging(level: str, log_format: str) -> None:
    """Write the agent's log lines, and the warnings of libraries, to standard output as text or JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_LineFormatter(_as_json if log_format == "json" else _as_text))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER_NAME).setLevel(level)


class _LineFormatter(logging.Formatter):
    """One line a record: time in UTC, level, action, facts, message."""

    def __init__(self, write: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "action": getattr(record, "action", record.name),
            **getattr(record, "facts", {}),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return self._write(line)


def _as_json(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str).decode()


def _as_text(line: dict[str, Any]) -> str:
    shown = [str(line.pop("time")), str(line.pop("level")), str(line.pop("action"))]
    traceback = line.pop("traceback", None)
    shown.extend(f"{name}={_quoted(value)}" for name, value in line.items())
    return " ".join(shown) + (f"\n{traceback}" if traceback else "")


def _quoted(value: object) -> str:
    text = str(value).replace("\n", " ")
    return orjson.dumps(text).decode() if not text or _TEXT_QUOTED & set(text) else text
