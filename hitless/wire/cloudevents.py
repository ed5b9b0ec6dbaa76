"""CloudEvents as HTTP and MQTT carry them, and as a handler sees them: objects of the JSON event format.

CNCF, "CloudEvents", version 1.0.2, with its JSON event format and its protocol bindings for HTTP and MQTT. Pure.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

Event = dict[str, Any]
"""Attributes by their names, and `data` or `data_base64`."""

STRUCTURED = "application/cloudevents+json"
REQUIRED = ("specversion", "id", "source", "type")
_VERSION = "1.0"
_PREFIX = "ce-"
_FAMILY = "application/cloudevents"
_DATA = ("data", "data_base64")
_TEXTS = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
_NAME = re.compile(r"[a-z0-9]+")
_TEXT_TYPES = ("text/", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
"""RFC 3339, 5.6."""
_URI = re.compile(r'[^\x00-\x20\x7f<>"{}|\\^`]+')
"""What cannot be a URI reference (RFC 3986) has other characters than these."""
_NO_STRING = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that an attribute must not have (CloudEvents, "Type System")."""
_AS_IT_IS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""Characters that a header has unencoded (HTTP binding, 3.1.3.2)."""
_INTEGERS = range(-(1 << 31), 1 << 31)


class CloudEventError(ValueError):
    """What is no CloudEvent; the message names the attribute and what was expected."""

    status = 400
    """Of HTTP."""


class UnsupportedFormatError(CloudEventError):
    """A CloudEvent, or several, in a format that is not served."""

    status = 415


def from_http(headers: Mapping[str, str], body: bytes, repeated: Iterable[str] = ()) -> Event:
    """The event of a request, in structured or in binary mode.

    Names of headers are in lower case; those in `repeated` came several times. Raises CloudEventError.
    """
    content_type = headers.get("content-type")
    if _is_structured(content_type):
        return from_json(body)
    if f"{_PREFIX}specversion" not in headers:
        raise CloudEventError(f"expected {STRUCTURED} as content-type, or a header ce-specversion: no CloudEvent")
    twice = [name for name in repeated if name.startswith(_PREFIX)]
    if twice:
        raise CloudEventError(f"{twice[0]} came several times, expected it once")
    attributes = {
        name[len(_PREFIX) :]: _header_text(name, value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    return _binary(attributes, content_type, body)


def from_mqtt(
    payload: bytes, content_type: str | None = None, properties: Sequence[tuple[str, str]] = ()
) -> Event | None:
    """The event of a message; None for a message that is no CloudEvent.

    MQTT 5 tells by content type and user properties. A publisher of MQTT 3.1.1 has neither: from it, JSON that has the
    attributes that each event has is one. Raises CloudEventError.
    """
    if _is_structured(content_type):
        return from_json(payload)
    names = [name for name, _ in properties]
    if "specversion" in names:
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise CloudEventError(f"user property {twice[0]} came several times, expected it once")
        return _binary(dict(properties), content_type, payload)
    if (content_type is None or _is_json(content_type)) and payload.lstrip()[:1] == b"{":
        try:
            found = _loaded(payload)
        except CloudEventError:
            return None
        if isinstance(found, dict) and all(name in found for name in REQUIRED):
            return checked(found)
    return None


def from_json(text: bytes) -> Event:
    """The event in a text of the JSON event format. Raises CloudEventError."""
    return checked(_loaded(text))


def to_json(event: Event) -> bytes:
    """An event in the JSON event format."""
    return json.dumps(event).encode()


def to_http(event: Event) -> tuple[dict[str, str], bytes]:
    """Headers and body of an event in binary mode."""
    headers = {
        f"{_PREFIX}{name}": quote(_written(value), safe=_AS_IT_IS)
        for name, value in event.items()
        if name not in _DATA and name != "datacontenttype"
    }
    content_type = event.get("datacontenttype")
    if content_type is None and "data" in event:
        content_type = "application/json"  # JSON event format, 3.1
    if content_type is not None:
        headers["content-type"] = content_type
    if "data_base64" in event:
        return headers, base64.b64decode(event["data_base64"])
    if "data" not in event:
        return headers, b""
    data = event["data"]
    if isinstance(data, str) and not _is_json(content_type or ""):
        return headers, data.encode()
    return headers, json.dumps(data).encode()


def checked(value: object) -> Event:
    """An object of the JSON event format as an event, without attributes that are null. Raises CloudEventError."""
    if not isinstance(value, dict):
        raise CloudEventError(f"expected a JSON object, got {_kind(value)}")
    event = {name: one for name, one in value.items() if one is not None or name == "data"}
    for name in REQUIRED:
        if name not in event:
            raise CloudEventError(f"{name}: expected, but missing")
    if event["specversion"] != _VERSION:
        raise CloudEventError(f"specversion: expected {_VERSION}, got {event['specversion']!r:.40}")
    for name, one in event.items():
        if name not in _DATA:
            _check_attribute(name, one)
    if "data_base64" in event:
        if "data" in event:
            raise CloudEventError("data and data_base64: expected one of them")
        try:
            base64.b64decode(event["data_base64"], validate=True)
        except (ValueError, TypeError):
            raise CloudEventError("data_base64: expected text in base64") from None
    return event


def with_data(event: Event, content_type: str | None, body: bytes) -> Event:
    """The event with a body as its data: a JSON value or text where its type says so, else base64.

    Raises CloudEventError for a body that is not of its type.
    """
    if not body:
        return event
    if content_type is not None and _is_json(content_type):
        return {**event, "data": _loaded(body)}
    if content_type is not None and content_type.lower().startswith(_TEXT_TYPES):
        try:
            return {**event, "data": body.decode()}
        except UnicodeDecodeError:
            pass  # in another encoding, which the handler may know
    return {**event, "data_base64": base64.b64encode(body).decode("ascii")}


def _binary(attributes: Mapping[str, str], content_type: str | None, body: bytes) -> Event:
    for name in (*_DATA, "datacontenttype"):
        if name in attributes:
            raise CloudEventError(f"{name}: no attribute in binary mode, where the body and its content type are that")
    event = checked(dict(attributes))
    if content_type is not None:
        _check_attribute("datacontenttype", content_type)
        event["datacontenttype"] = content_type
    return with_data(event, content_type, body)


def _check_attribute(name: object, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CloudEventError(f"{name!r:.40}: expected an attribute's name of lower-case letters and digits")
    if name in _TEXTS and (not isinstance(value, str) or not value):
        raise CloudEventError(f"{name}: expected text that is not empty, got {_kind(value)}")
    if isinstance(value, str):
        if _NO_STRING.search(value):
            raise CloudEventError(f"{name}: expected text without control characters")
        if name in ("source", "dataschema") and not _URI.fullmatch(value):
            raise CloudEventError(f"{name}: expected a URI, got {value!r:.60}")
        if name == "time" and not _TIME.fullmatch(value):
            raise CloudEventError(f"time: expected one such as 2026-11-30T20:05:00Z (RFC 3339), got {value!r:.60}")
    elif not isinstance(value, int) or (not isinstance(value, bool) and value not in _INTEGERS):
        raise CloudEventError(f"{name}: expected text, true, false or an integer of 32 bits, got {_kind(value)}")


def _is_structured(content_type: str | None) -> bool:
    """Whether a content type says that the whole event is in the body. Raises UnsupportedFormatError."""
    media = _media(content_type or "")
    if not media.startswith(_FAMILY):
        return False
    if media.startswith(f"{_FAMILY}-batch"):
        raise UnsupportedFormatError(f"{media}: batches are not served, expected each event in a request of its own")
    if media != STRUCTURED:
        raise UnsupportedFormatError(f"{media}: expected {STRUCTURED}, or binary mode")
    return True


def _is_json(content_type: str) -> bool:
    media = _media(content_type)
    return media in ("application/json", "text/json") or media.endswith("+json")


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _header_text(name: str, value: str) -> str:
    """An attribute in a header as it is without quotes and percent-encoding (HTTP binding, 3.1.3.2)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise CloudEventError(f"{name}: expected UTF-8 in percent-encoding") from None


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise CloudEventError("expected JSON that is not nested so deeply") from None
    except ValueError as error:  # also of bytes that are no UTF-8
        raise CloudEventError(f"expected JSON: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is none")


def _written(value: object) -> str:
    """An attribute as text (CloudEvents, "Type System")."""
    return json.dumps(value) if isinstance(value, (bool, int)) else str(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.40}" if isinstance(value, str) else type(value).__name__
