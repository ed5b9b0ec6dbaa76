"""Lambda's calling convention: loading a handler, the event and context it gets, and what its result means.

Events and results have the shape of a Lambda function URL (payload format version 2.0).
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from hitless.wire.worker_frames import HttpHead, Request

Handler = Callable[[dict[str, Any], "Context"], object]

_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-www-form-urlenc",
)


class HandlerError(Exception):
    """A handler that cannot be loaded, or a result that is none."""


@dataclass(frozen=True, slots=True)
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

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the client stops waiting, at least 0."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


@dataclass(frozen=True, slots=True)
class Result:
    """A handler's result as it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes


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
    """The `aws_request_id` of a request."""
    return str(uuid.UUID(int=request.client_id << 64 | request.request_id))


def event_of(request: Request) -> dict[str, Any]:
    """The event for a request. One that came over the invocation protocol is a POST of octets to /."""
    http = request.http or HttpHead("POST", "/", headers={"content-type": "application/octet-stream"})
    is_text = http.headers.get("content-type", "").startswith(_TEXT_TYPES)
    body: str | None = None
    if request.body:
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


def result_of(value: object) -> Result:
    """What a handler's return value means: a response if it has a `statusCode`, else a JSON value (or a text) and 200.

    Raises HandlerError when it is neither.
    """
    if not (isinstance(value, dict) and "statusCode" in value):
        return Result(200, {"content-type": "application/json"}, _text(value).encode())
    status = value["statusCode"]
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise HandlerError(f"handler returned statusCode {status!r}, expected 100 to 599")
    headers = value.get("headers") or {}
    if not isinstance(headers, dict):
        raise HandlerError(f"handler returned headers of type {type(headers).__name__}, expected a dict")
    body = value.get("body", "")
    try:
        content = base64.b64decode(body, validate=True) if value.get("isBase64Encoded") else _text(body).encode()
    except (ValueError, TypeError) as error:
        raise HandlerError(f"handler returned isBase64Encoded and a body that is not base64: {error}") from None
    lower = {str(name).lower(): str(header) for name, header in headers.items()}
    return Result(status, {"content-type": "application/json"} | lower, content)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise HandlerError(f"handler returned a {type(value).__name__}, which is not JSON: {error}") from None
