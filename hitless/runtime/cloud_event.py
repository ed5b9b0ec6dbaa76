"""CloudEvents as a function's events and results, for components whose `payload_format_version` is `cloudevents`."""

from __future__ import annotations

from typing import Any

from hitless.runtime.result import IllegalAnswer, Result
from hitless.wire import cloudevents
from hitless.wire.cloudevents import CloudEventError, Event
from hitless.wire.worker_frames import Request

FORMAT = "cloudevents"
"""As payload_format_version."""


def event_of(request: Request) -> Event:
    """The event that a request is; over the invocation protocol the payload has the whole. Raises CloudEventError."""
    body = request.body or b""
    if request.http is None:
        return cloudevents.from_json(body)
    return cloudevents.from_http(request.http.headers, body, request.http.repeated)


def result_of(value: object, request: Request) -> Result | None:
    """A result that is an event, in the mode in which the request's event came; None for one that is none.

    Raises IllegalAnswer for one that says it is an event and is not.
    """
    if not isinstance(value, dict) or "specversion" not in value or "statusCode" in value:
        return None
    try:
        event = cloudevents.checked(value)
        if request.http is None or request.http.headers.get("content-type", "").startswith(cloudevents.STRUCTURED):
            return Result(200, {"content-type": cloudevents.STRUCTURED}, cloudevents.to_json(event))
        return Result(200, *cloudevents.to_http(event))
    except (CloudEventError, TypeError, ValueError) as error:
        raise IllegalAnswer(f"handler returned a CloudEvent that is none: {error}") from None


def refusal(error: CloudEventError) -> dict[str, Any]:
    """What a client is told whose request is no event."""
    return {"statusCode": error.status, "body": {"message": f"no CloudEvent: {error}"}}
