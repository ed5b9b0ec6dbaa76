"""Lambda's calling convention: loading a handler, the event and context it gets, and what its result means.

Events and results have the shape of a Lambda function URL (payload format version 2.0).
"""

from __future__ import annotations

import base64
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

from hitless.wire.worker_frames import HttpHead, Request

Handler = Callable[[dict[str, Any], "Context"], object]

_LOW_48 = (1 << 48) - 1
_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-www-form-urlenc",
)


class HandlerError(Exception):
    """A handler that cannot be loaded, or a result that is none."""


class Readable(Protocol):
    """A request body that is read as it comes."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as soon as there are any; all that comes for a negative size. Empty at the end."""

    def __iter__(self) -> Iterator[bytes]:
        """The parts, as they come."""


@dataclass(slots=True)
class Context:
    """What a handler is told about its invocation, beside the event."""

    aws_request_id: str
    """Unique to the request: made of its client id and request id."""
    function_name: str
    """The component's name."""
    configuration: Mapping[str, Any]
    """The component's configuration as it is for this request."""
    deadline: float
    """time.monotonic when the client stops waiting."""
    body: Readable | None = None
    """The request's body, where the configuration says `streamed`; else it is in the event."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the client stops waiting, at least 0."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def load(name: str, artifacts: Path) -> Handler:
    """Import a handler, such as `detect.lambda_handler`, from the directory `artifacts`.

    Raises HandlerError when the name or the function is wrong; what the module raises passes through.
    """
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise HandlerError(f"handler is {name!r}, expected module.function")
    if not artifacts.is_dir():
        raise HandlerError(f"artifacts directory {artifacts} does not exist")
    sys.path.insert(0, str(artifacts))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise HandlerError(f"handler {name}: no module {module_name} in {artifacts}") from None
    handler = getattr(module, function_name, None)
    if not callable(handler):
        raise HandlerError(f"handler {name}: {module.__file__} has no function {function_name}")
    found: Handler = handler
    return found


def request_uuid(request: Request) -> str:
    """The `aws_request_id` of a request: a UUID made of client id and request id."""
    client, own = request.client_id, request.request_id
    return f"{client >> 32:08x}-{client >> 16 & 0xFFFF:04x}-{client & 0xFFFF:04x}-{own >> 48:04x}-{own & _LOW_48:012x}"


def event_of(request: Request, *, with_body: bool = True) -> dict[str, Any]:
    """The event for a request. One that came over the invocation protocol is a POST of octets to /."""
    http = request.http or HttpHead("POST", "/", headers={"content-type": "application/octet-stream"})
    body: str | None = None
    is_text = False
    if request.body and with_body:
        is_text = http.headers.get("content-type", "").startswith(_TEXT_TYPES)
        try:
            body = request.body.decode() if is_text else None
        except UnicodeDecodeError:
            is_text = False
        if body is None:
            body = base64.b64encode(request.body).decode("ascii")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": http.path,
        "rawQueryString": http.query,
        "headers": http.headers,
        "requestContext": {
            "http": {
                "method": http.method,
                "path": http.path,
                "protocol": "HTTP/1.1",
                "sourceIp": http.source,
                "userAgent": http.headers.get("user-agent", ""),
            },
            "requestId": request_uuid(request),
            "routeKey": "$default",
            "stage": "$default",
        },
        "isBase64Encoded": body is not None and not is_text,
    }
    if http.query:
        event["queryStringParameters"] = dict(parse_qsl(http.query, keep_blank_values=True))
    if body is not None:
        event["body"] = body
    return event
