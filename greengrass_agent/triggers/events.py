"""The events of triggers, and the requests in which they reach a service. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote

from hitless.component.schedule import written
from hitless.wire import cloudevents
from hitless.wire.cloudevents import CloudEventError, Event

MESSAGE, TIME = "hitless.trigger.message", "hitless.trigger.schedule"
"""Types of the events that are made here."""
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Message:
    """What came from the broker."""

    topic: str
    payload: bytes
    content_type: str | None = None
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a service is sent."""

    headers: dict[str, str]
    """For a service over HTTP."""
    body: bytes


def of_message(service: str, trigger: str, message: Message, own_id: str, now: float) -> Event:
    """The event that a message carries, or else is: then with `own_id`, which no other has. Raises CloudEventError."""
    event = cloudevents.from_mqtt(message.payload, message.content_type, message.properties)
    if event is not None:
        return event
    made: Event = {
        "specversion": "1.0",
        "id": own_id,
        "source": _source(service, trigger),
        "type": MESSAGE,
        "subject": message.topic if message.topic.isprintable() else quote(message.topic),
        "time": written(now),
    }
    if message.content_type and message.content_type.isprintable():
        made["datacontenttype"] = message.content_type
    return {**made, "data_base64": base64.b64encode(message.payload).decode("ascii")}


def of_time(service: str, trigger: str, at: float) -> Event:
    """The event of a point in time: the same one, id and all, whoever makes it and however often."""
    return {
        "specversion": "1.0",
        "id": f"{trigger}-{written(at)}",
        "source": _source(service, trigger),
        "type": TIME,
        "time": written(at),
    }


def request(event: Event, protocol: str, payload_format: str, message: Message | None) -> Request:
    """The request for an event; `message` is what it came in.

    Over HTTP in binary mode. The invocation protocol has no headers: there a message is its payload, unless the
    component wants CloudEvents, and a point in time is JSON.
    """
    if protocol == "tcp":
        headers, body = cloudevents.to_http(event)
        return Request({"content-type": OCTETS, **headers} if body else headers, body)
    if message is not None and payload_format != "cloudevents":
        return Request({}, message.payload)
    return Request({}, cloudevents.to_json(_readable(event)))


def _source(service: str, trigger: str) -> str:
    return f"/services/{service}/triggers/{trigger}"


def _readable(event: Event) -> Event:
    """The event with its data as JSON or text where its type says that it is that."""
    if "data_base64" not in event:
        return event
    rest = {name: value for name, value in event.items() if name != "data_base64"}
    try:
        return cloudevents.with_data(rest, event.get("datacontenttype"), base64.b64decode(event["data_base64"]))
    except CloudEventError:  # it is not what its type says
        return event
