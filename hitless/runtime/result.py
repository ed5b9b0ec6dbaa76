"""What a handler's result means: a status, headers, and a body that is there or comes in parts.

Results have the shape that Lambda's HTTP front doors take: `cookies` is of payload format version 2.0,
`multiValueHeaders` of 1.0, and both are taken whichever the event was.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from hitless.runtime.handler import HandlerError
from hitless.wire.worker_frames import PART, SET_COOKIE

_JSON = {"content-type": "application/json"}
_OCTETS = {"content-type": "application/octet-stream"}
_PLAIN = (str, dict, list, int, float, type(None))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""
_NOT_IN_A_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""RFC 9110, 5.5; and what is no text at all."""


class IllegalAnswer(HandlerError):
    """A result that cannot be sent as an HTTP answer."""


class MarshalError(HandlerError):
    """A result that is no JSON. Its text is that of Lambda's runtime."""


class JsonText(NamedTuple):
    """A result that a function's own runtime has made JSON of."""

    text: bytes

    def value(self) -> Any:
        """What the text says. Raises ValueError, RecursionError where that is no JSON."""
        return json.loads(self.text)


class Parts:
    """A body that comes in parts, of an iterator of bytes or text or of a binary file; whoever has it closes it."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._parts = _of_file(source) if hasattr(source, "read") else iter(source)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            match part:
                case bytes() | bytearray() | memoryview():
                    yield bytes(part)
                case str():
                    yield part.encode()
                case _:
                    raise HandlerError(f"a part of the body is a {type(part).__name__}, expected bytes or text")

    def close(self) -> None:
        """Let the handler's generator or file end. Raises what its clean-up raises."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


@dataclass(slots=True)
class Result:
    """A handler's result as it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes | Parts


def result_of(value: object) -> Result:
    """What a handler's return value means.

    A dict with `statusCode` is a response; an iterator or a file is a body in parts, and any other JSON value (or a
    text) a whole one, with status 200. JsonText means what the value in it does; what is no JSON then is sent as it
    is, as octets. Raises HandlerError when it is none of these, IllegalAnswer for a response with a status or a header
    that HTTP does not have, MarshalError for what is no JSON.
    """
    if not (isinstance(value, dict) and "statusCode" in value):
        if isinstance(value, JsonText):
            return _of_json(value)
        if _in_parts(value):
            return Result(200, _OCTETS.copy(), Parts(value))
        return Result(200, _JSON.copy(), b"null" if value is None else _text(value).encode())
    body = value.get("body", "")
    parts = Parts(body) if _in_parts(body) else None
    try:
        status, headers = _status(value["statusCode"]), _headers(value.get("headers"))
        if "multiValueHeaders" in value:
            headers = _merged(headers, value["multiValueHeaders"])
        if "cookies" in value:
            headers |= _cookies(value["cookies"], headers.get(SET_COOKIE))
    except IllegalAnswer:
        if parts is not None:
            with suppress(Exception):
                parts.close()
        raise
    if parts is not None:
        return Result(status, _OCTETS | headers, parts)
    try:
        content = _octets(body) if value.get("isBase64Encoded") else _text(body).encode()
    except (ValueError, TypeError) as error:
        raise HandlerError(f"handler returned isBase64Encoded and a body that is not base64: {error}") from None
    return Result(status, _JSON | headers, content)


def _of_json(given: JsonText) -> Result:
    try:
        value = given.value()
    except (ValueError, RecursionError):
        return Result(200, _OCTETS.copy(), given.text)
    if isinstance(value, str) or (isinstance(value, dict) and "statusCode" in value):
        return result_of(value)
    return Result(200, _JSON.copy(), given.text)


def payload_of(value: object) -> bytes:
    """A result as Lambda's Invoke API gives it to the caller: its JSON, or the parts of an answer put together.

    Raises MarshalError for what is no JSON, and what the parts raise.
    """
    if isinstance(value, JsonText):
        return value.text
    if _in_parts(value):
        parts = Parts(value)
        try:
            return b"".join(parts)
        finally:
            parts.close()
    return _json(value).encode()


def _octets(body: Any) -> bytes:
    """The bytes of a base64 text, which may be in lines (RFC 2045)."""
    return base64.b64decode("".join(body.split()) if isinstance(body, str) else body, validate=True)


def _status(value: object) -> int:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise IllegalAnswer(f"handler returned statusCode {_shown(value)}, expected 200 to 599")
    return value


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise IllegalAnswer(f"handler returned headers of type {type(value).__name__}, expected a dict")
    headers = {}
    for name, given in value.items():
        # On the path of each answer: what is text and printable, so without control characters, needs no closer look.
        plain = isinstance(given, str) and given.isprintable()
        headers[_name(name)] = given if plain else _value(name, given)
    return headers


def _merged(headers: dict[str, str], value: object) -> dict[str, str]:
    """Headers with those that have several values each: one list (RFC 9110, 5.3), but for cookies."""
    if value is None:
        return headers
    if not isinstance(value, dict):
        raise IllegalAnswer(f"handler returned multiValueHeaders of type {type(value).__name__}, expected a dict")
    merged = dict(headers)
    for name, given in value.items():
        if not isinstance(given, (list, tuple)):
            raise IllegalAnswer(f"handler returned multiValueHeaders {_shown(name)}: {_shown(given)}, expected a list")
        lower, values = _name(name), [_value(name, one) for one in given]
        if lower in headers and headers[lower] not in values:
            values.insert(0, headers[lower])
        if values:
            merged[lower] = ("\n" if lower == SET_COOKIE else ", ").join(values)
    return merged


def _cookies(value: object, before: str | None) -> dict[str, str]:
    """A field for the cookies of a result, behind one that its headers have."""
    if value is None:
        return {}
    if not isinstance(value, (list, tuple)):
        raise IllegalAnswer(f"handler returned cookies of type {type(value).__name__}, expected a list of texts")
    values = [before] if before is not None else []
    values += [_value("set-cookie", one) for one in value]
    return {SET_COOKIE: "\n".join(values)} if values else {}


def _name(name: object) -> str:
    """A header's name in lower case."""
    lower = _lower(name) if isinstance(name, str) else None
    if lower is None:
        raise IllegalAnswer(f"handler returned a header named {_shown(name)}, expected a token of RFC 9110")
    return lower


def _value(name: str, given: object) -> str:
    """A header's value as text."""
    text = json.dumps(given) if isinstance(given, (int, float)) else given
    if not isinstance(text, str) or _NOT_IN_A_VALUE.search(text):
        raise IllegalAnswer(f"handler returned header {name}: {_shown(text)}, expected text without control characters")
    return text


@functools.lru_cache(maxsize=256)
def _lower(name: str) -> str | None:
    """A header's name in lower case, None if it is none."""
    return name.lower() if _TOKEN.fullmatch(name) else None


def _shown(value: object) -> str:
    try:
        return f"{value!r:.100}"
    except Exception:  # of the value's own text, or of an int with too many digits for one
        return f"a {type(value).__name__}"


def _in_parts(value: object) -> bool:
    return not isinstance(value, _PLAIN) and (isinstance(value, Iterator) or hasattr(value, "read"))


def _of_file(file: Any) -> Iterator[object]:
    while part := file.read(PART):
        yield part


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    try:
        return _JSON_TEXT(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise MarshalError(f"Unable to marshal response: {error}") from None


def _number(value: object) -> int | float:
    """What JSON has in place of a Decimal, which AWS's clients make of the numbers of their databases."""
    from decimal import Decimal  # whoever returns one has imported it

    if not isinstance(value, Decimal):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


_JSON_TEXT = json.JSONEncoder(default=_number).encode
