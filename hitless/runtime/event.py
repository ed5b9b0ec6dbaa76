"""The event that a handler gets for a request: the JSON object that Lambda's HTTP front doors make of one.

AWS, "Lambda function URLs: request payload" and "API Gateway HTTP APIs: payload format version" (2.0 and 1.0). What is
empty is absent from 2.0 and None in 1.0, as it is there. Pure: the time is an argument.
"""

from __future__ import annotations

import base64
import functools
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from hitless.wire.worker_frames import HttpHead, Request

ACCOUNT = "anonymous"
"""What a function URL says of a caller that did not sign its request."""
_DEFAULT = "$default"
_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-www-form-urlenc",
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOBODY = dict.fromkeys(
    (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    )
)


def event_of(
    request: Request, request_id: str, function: str, now: float, *, payload: str = "2.0", with_body: bool = True
) -> dict[str, Any]:
    """The event for a request, of format version `payload`. `now` is the time since 1970, in seconds.

    One that came over the invocation protocol is a POST of octets to /, with its numbers as headers.
    """
    http = request.http
    if http is not None:
        method, path, query, headers, source, _ = http
    else:
        method, path, query, source = "POST", "/", "", ""
        headers = {
            "content-type": "application/octet-stream",
            "x-client-id": str(request.client_id),
            "x-request-id": str(request.request_id),
        }
    body: str | None = None
    is_text = False
    if request.body and with_body:
        body, is_text = _body(request.body, headers.get("content-type", ""))
    is_base64 = body is not None and not is_text
    if payload == "1.0":
        head = http or HttpHead(method, path, query, headers, source)
        return _of_version_1(head, request_id, function, now, body, is_base64)
    cookies = None
    if "cookie" in headers:
        fields = dict(headers)
        cookies = [one.strip() for one in fields.pop("cookie").split(";")]
        headers = fields
    domain, prefix = _domain(headers.get("host") or function)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": _DEFAULT,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": function,
            "domainName": domain,
            "domainPrefix": prefix,
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": _DEFAULT,
            "stage": _DEFAULT,
            "time": _in_words(int(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": is_base64,
    }
    if cookies is not None:
        event["cookies"] = cookies
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        parameters = dict(pairs)
        if len(parameters) < len(pairs):
            parameters = {name: ",".join(values) for name, values in _gathered(pairs).items()}
        event["queryStringParameters"] = parameters
    if body is not None:
        event["body"] = body
    return event


def _of_version_1(
    http: HttpHead, request_id: str, function: str, now: float, body: str | None, is_base64: bool
) -> dict[str, Any]:
    """As of a REST API whose one resource takes every path."""
    several = {name: list(http.repeated.get(name, (value,))) for name, value in http.headers.items()}
    if "cookie" in several:
        several["cookie"] = [http.headers["cookie"]]
    parameters = _gathered(parse_qsl(http.query, keep_blank_values=True)) if http.query else None
    domain, prefix = _domain(http.headers.get("host") or function)
    proxy = http.path.lstrip("/")
    resource = "/{proxy+}" if proxy else "/"
    return {
        "version": "1.0",
        "resource": resource,
        "path": http.path,
        "httpMethod": http.method,
        "headers": {name: values[-1] for name, values in several.items()},
        "multiValueHeaders": several,
        "queryStringParameters": parameters and {name: values[-1] for name, values in parameters.items()},
        "multiValueQueryStringParameters": parameters,
        "pathParameters": {"proxy": proxy} if proxy else None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": function,
            "domainName": domain,
            "domainPrefix": prefix,
            "extendedRequestId": request_id,
            "httpMethod": http.method,
            "identity": {**_NOBODY, "sourceIp": http.source, "userAgent": http.headers.get("user-agent", "")},
            "path": http.path,
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": _in_words(int(now)),
            "requestTimeEpoch": int(now * 1000),
            "resourceId": None,
            "resourcePath": resource,
            "stage": _DEFAULT,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _body(data: bytes, content_type: str) -> tuple[str, bool]:
    """A body as it stands in an event, and whether that is the text itself and not base64."""
    if content_type.startswith(_TEXT_TYPES):
        try:
            return data.decode(), True
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode("ascii"), False


def _gathered(pairs: list[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


@functools.lru_cache(maxsize=64)
def _domain(host: str) -> tuple[str, str]:
    """The name in a Host field without its port, and its first label; of an address, the whole."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    is_address = name.startswith("[") or name.replace(".", "").isdecimal()
    return name, name if is_address else name.partition(".")[0]


@functools.lru_cache(maxsize=1)
def _in_words(second: int) -> str:
    """A time as the Common Log Format has it, such as 30/Nov/2026:17:20:25 +0000."""
    at = time.gmtime(second)
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"
