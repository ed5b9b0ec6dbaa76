"""What a service's answer means: to a caller of the Invoke API, and to the queue. Pure.

A node's gateway says by its status whether a function was executed: 200 and 500 are the function's own, 502 says that
its worker died, 504 that it took too long, and all others that it was not executed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controller.invocations.errors import LambdaError, not_found, too_large, unavailable
from controller.invocations.queue import (
    Failed,
    Invocation,
    Outcome,
    Refused,
    State,
    Succeeded,
    Unreached,
)

MAX_RESULT = 6 * 1024 * 1024
"""Bytes of a function's result, as on Lambda."""
EXECUTED_VERSION = "X-Amz-Executed-Version"
FUNCTION_ERROR = "X-Amz-Function-Error"
UNHANDLED = "Unhandled"
"""Lambda's word for what a function raises as well as for how it dies; `Handled` is for runtimes that say so."""
MAX_REASON = 1000
"""Characters of a reason that a state keeps."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered."""

    status: int
    """An HTTP status, also over the invocation protocol."""
    headers: dict[str, str]
    """Names in lower case; none over the invocation protocol."""
    body: bytes


class UnreachedError(Exception):
    """No answer; the message says why."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether the function may have got the request."""


class TooLongError(Exception):
    """A payload or a result that is longer than the service's protocol, or Lambda, has it."""

    def __init__(self, limit: int, *, result: bool) -> None:
        super().__init__(f"{'result' if result else 'payload'} of more than {limit} bytes")
        self.limit = limit
        self.result = result


@dataclass(frozen=True, slots=True)
class Executed:
    """A function was executed: what the caller is told."""

    error: str
    """Empty, or the value of X-Amz-Function-Error."""
    payload: bytes
    version: str
    """Empty where the answer does not say it."""


def executed(reply: Reply, request_id: str, arn: str) -> Executed:
    """What a function made of an event. Raises LambdaError where it was not executed."""
    version = reply.headers.get(EXECUTED_VERSION.lower(), "")
    text = reply.body.decode(errors="replace")
    match reply.status:
        case 200:
            return Executed("", reply.body, version)
        case 500:
            return Executed(reply.headers.get(FUNCTION_ERROR.lower(), UNHANDLED), reply.body, version)
        case 502:
            return Executed(UNHANDLED, error_document("Runtime.ExitError", request_id, text), version)
        case 504:
            return Executed(UNHANDLED, error_document("Sandbox.Timedout", request_id, text), version)
        case 404:
            raise not_found(arn)
        case 415:
            raise LambdaError("UnsupportedMediaTypeException", 415, text)
        case 413:
            raise too_large(MAX_RESULT)
        case _:
            raise unavailable(f"the function was not executed (status {reply.status}): {text}")


def without_reply(error: UnreachedError | TooLongError, request_id: str) -> Executed:
    """What a caller is told who got no answer. Raises LambdaError where nothing was executed: it may try again.

    Where something may have been, the answer is an error of the function, which AWS's clients do not repeat by
    themselves.
    """
    if isinstance(error, TooLongError):
        if not error.result:
            raise too_large(error.limit)
        said = f"Response payload size exceeded maximum allowed payload size ({error.limit} bytes)."
        return Executed(UNHANDLED, error_document("Function.ResponseSizeTooLarge", request_id, said), "")
    if not error.sent:
        raise unavailable(str(error))
    return Executed(UNHANDLED, error_document("Sandbox.Failure", request_id, str(error)), "")


def error_document(kind: str, request_id: str, reason: str) -> bytes:
    """An error that no runtime has reported, as Lambda has it."""
    said = f"RequestId: {request_id} Error: {reason}"
    return json.dumps({"errorType": kind, "errorMessage": said, "requestId": request_id}).encode()


def outcome(invocation: Invocation, reply: Reply | UnreachedError | TooLongError) -> Outcome:
    """What it means for an invocation in the queue."""
    match reply:
        case UnreachedError():
            return Unreached(_short(str(reply)))
        case TooLongError(result=True):
            return Failed(500, str(reply))
        case TooLongError():
            return Refused(413, str(reply))
    status, reason = reply.status, _short(reply.body.decode(errors="replace"))
    if invocation.http is not None:
        if status < 500:
            return Succeeded(status, reply.headers.get("content-type", "application/octet-stream"))
        return Unreached(f"status 503: {reason}") if status == 503 else Failed(status, reason)
    match status:
        case 200:
            return Succeeded(200)
        case 500 | 502 | 504:
            return Failed(status, reason)
        case 400 | 404 | 413 | 415:
            return Refused(status, reason)
        case _:
            return Unreached(f"status {status}: {reason}")


def record(invocation: Invocation, state: State, arn: str, payload: bytes, result: bytes | None) -> bytes:
    """What those are told who want to know of dead letters: Lambda's record for destinations on failure."""
    end = state.end
    assert end is not None
    document: dict[str, Any] = {
        "version": "1.0",
        "timestamp": datetime.fromtimestamp(end.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": invocation.id,
            "functionArn": arn,
            "condition": end.condition,
            "approximateInvokeCount": state.failures,
        },
        "requestPayload": _payload(payload),
        "reason": end.reason,
    }
    if end.status and result is not None:
        document["responseContext"] = {"statusCode": end.status, "functionError": UNHANDLED}
        document["responsePayload"] = _payload(result)
    return json.dumps(document).encode()


def progress(invocation: Invocation, state: State) -> dict[str, Any]:
    """How far an invocation is, for who asks."""
    end = state.end
    return {
        "id": invocation.id,
        "service": invocation.service,
        "state": "pending" if end is None else "succeeded" if end.succeeded else "failed",
        "status": end.status if end is not None and end.status else None,
        "condition": None if end is None else end.condition,
        "failures": state.failures,
        "problem": state.trouble or None,
        "callback": _callback(invocation, state),
    }


def _callback(invocation: Invocation, state: State) -> str | None:
    if invocation.callback is None:
        return None
    if "callback" in state.given_up:
        return "given up"
    return "delivered" if state.end is not None and "callback" not in state.to_tell else "pending"


def _payload(content: bytes) -> Any:
    """As JSON, if it is that; else as text; else in base64."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        pass
    try:
        return content.decode()
    except UnicodeDecodeError:
        return base64.b64encode(content).decode()


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"
