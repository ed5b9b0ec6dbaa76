"""What a component printed, line by line, each with its time and level. Pure.

Lines that say both are those of a handler's logging: Lambda's text and JSON formats, as `hitless.runtime.logs` writes
them, and the JSON of AWS Lambda Powertools. All others are INFO, and their time is the one at which they were written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PLAIN = "INFO"
LONGEST = 8 << 10
"""Bytes of a line; what is longer comes as several."""
LEVELS = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"} | {
    name: name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
}
_TEXT = re.compile(r"\[([A-Z]+)\]\t(\S+Z)\t([^\t]*)\t(.*)", re.DOTALL)
_RAISED = re.compile(r"\[(ERROR|CRITICAL|WARNING)\] (.*)", re.DOTALL)
_SAID = frozenset({"timestamp", "level", "message", "logger", "requestId"})
"""What a JSON line has that says nothing beyond its time, level and message."""
_DIGITS = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Line:
    """One line."""

    time_ms: int
    """Since 1970."""
    level: str
    """One of LEVELS' values."""
    text: str
    request: str | None = None
    """The id of the request in hand, where the line says it."""


def parse(text: str, written_ms: int) -> Line:
    """A line without its end, which was written at that time (ms since 1970)."""
    if (found := _TEXT.fullmatch(text)) and (level := LEVELS.get(found[1])) is not None:
        return Line(_time(found[2], written_ms), level, found[4], found[3] or None)
    if found := _RAISED.fullmatch(text):
        return Line(written_ms, found[1], found[2])
    if text.startswith("{") and (line := _of_json(text, written_ms)) is not None:
        return line
    return Line(written_ms, PLAIN, text)


def _of_json(text: str, written_ms: int) -> Line | None:
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("level"), str):
        return None
    level = LEVELS.get(fields["level"].upper())
    if level is None:
        return None
    message, request = fields.get("message"), fields.get("requestId", fields.get("function_request_id"))
    # What has more to say, such as an error and where it was raised, is shown as it is.
    shown = message if isinstance(message, str) and fields.keys() <= _SAID else text
    stamp = fields.get("timestamp")
    time_ms = _time(stamp, written_ms) if isinstance(stamp, str) else written_ms
    return Line(time_ms, level, shown, request if isinstance(request, str) and request else None)


def _time(stamp: str, otherwise: int) -> int:
    """A time as ISO 8601 writes it, also with a comma before the fraction; in UTC where it names no zone."""
    if not _DIGITS.match(stamp):
        return otherwise
    try:
        moment = datetime.fromisoformat(stamp.replace(",", "."))
    except ValueError:
        return otherwise
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return max(0, round(moment.timestamp() * 1000))
    except (OverflowError, OSError):
        return otherwise


def split(data: bytes, *, ended: bool) -> tuple[list[tuple[int, bytes]], int]:
    """The lines of a piece of output with where each begins in it, and how many bytes they and their ends take.

    `ended`: nothing follows, so that the last line counts although it has no end. Of output that goes on, what was not
    taken comes again with what follows it.
    """
    found: list[tuple[int, bytes]] = []
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin, begin + LONGEST + 1)
        if end >= 0:
            found.append((begin, data[begin:end]))
            begin = end + 1
        elif len(data) - begin > LONGEST:
            found.append((begin, data[begin : begin + LONGEST]))
            begin += LONGEST
        elif ended:
            found.append((begin, data[begin:]))
            begin = len(data)
        else:
            break
    return found, begin
