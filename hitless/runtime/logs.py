"""What a handler logs and what it raises, in the form that Lambda's runtime for Python gives both.

AWS, "Log and monitor Python Lambda functions". The root logger has a handler before the function's module is imported,
so `logging.getLogger().setLevel("INFO")` is all that a function needs, and `logging.basicConfig` does nothing.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path

from hitless.runtime.handler import FunctionError

_TEXT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"
_LEVELS = {"TRACE": "DEBUG", "FATAL": "CRITICAL"} | {one: one for one in ("DEBUG", "INFO", "WARN", "ERROR")}
_OWN = str(Path(__file__).parent)


class RequestId(logging.Filter):
    """Gives each line the id of the request in hand."""

    def __init__(self) -> None:
        super().__init__()
        self.current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass."""
        record.aws_request_id = self.current
        return True


class _ToOutput(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what `sys.stdout` is at the time: functions replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


class _Json(logging.Formatter):
    """A line as a JSON object, where AWS_LAMBDA_LOG_FORMAT says so."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": self.formatTime(record, f"{_TIME}Z"),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": getattr(record, "aws_request_id", ""),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line |= {
                "errorType": type(error).__name__,
                "errorMessage": str(error),
                "stackTrace": traceback.format_tb(record.exc_info[2]),
            }
        return json.dumps(line, default=str)


def set_up() -> RequestId:
    """Give the root logger its handler. Returns what is to be told each request's id."""
    request_id = RequestId()
    handler = _ToOutput()
    as_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    formatter = _Json() if as_json else logging.Formatter(_TEXT, _TIME)
    formatter.converter = time.gmtime  # as the Z behind each time says
    handler.setFormatter(formatter)
    handler.addFilter(request_id)
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    if as_json and level in _LEVELS:
        root.setLevel(_LEVELS[level])
    return request_id


def log_error(kind: str, message: str, error: BaseException, request_id: str) -> None:
    """Write what a handler raised: a line that says it, where, and in which request."""
    print(f"[ERROR] {kind}: {message}\n{_where(error)}RequestId: {request_id}", file=sys.stderr, flush=True)


def _where(error: BaseException) -> str:
    """The traceback from the handler's first line on."""
    if isinstance(error, FunctionError):
        return "".join(f"{line}\n" for line in error.trace)
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename.startswith(_OWN):
        own = own.tb_next
    return "".join(traceback.format_exception(type(error), error, own))
