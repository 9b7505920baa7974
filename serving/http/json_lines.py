"""The log as one JSON object a line, without what users asked or wrote."""

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any

from serving.http.request_ids import request_id

REQUESTS = "serving.http.requests"  # whose lines are no warnings
_FRAMES = 8  # of an error, the innermost
_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Time, level, logger, message, and in a request its name; `fields` of a record beside them.

    Of an error the line has type and place. Its message may hold a text of a user, as may what
    follows the first line of the record's message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message, error = record.getMessage(), record.exc_info and record.exc_info[1]
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message.partition("\n")[0] if error else message,
        }
        if name := request_id.get():
            line["request_id"] = name
        if error:
            line |= describe_error(error)
        return json.dumps(line | getattr(record, "fields", {}), default=str)


def describe_error(error: BaseException) -> dict[str, Any]:
    """Type and place of an error, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "where": where[-_FRAMES:]}


def log_json_lines() -> None:
    """What this process warns of and fails with, and its requests, go to standard error as JSON.

    Called again it takes over what libraries have set up meanwhile for their own loggers.
    """
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    lines.addFilter(_is_wanted)
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers, logger.propagate = [], True
    logging.getLogger(REQUESTS).setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a record that cannot be written would be shown in words
    threading.excepthook = _of_thread
    sys.unraisablehook = _of_destructor


def _is_wanted(record: logging.LogRecord) -> bool:
    """A library may set a level of its own: what is only for its developers is left out."""
    return record.levelno >= logging.WARNING or record.name == REQUESTS


def _of_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "unknown"
    _log.error("thread %s ended with an error", name, exc_info=ended.exc_value)


def _of_destructor(failed: "sys.UnraisableHookArgs") -> None:
    _log.error("an error that nobody could be told", exc_info=failed.exc_value)
