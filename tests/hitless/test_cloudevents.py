"""CloudEvents: as they are decoded and written, and as a function behind a gateway gets and returns them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.component.service_configuration import ServiceConfiguration, ServiceConfigurationError
from hitless.wire import cloudevents
from hitless.wire.cloudevents import STRUCTURED, CloudEventError, UnsupportedFormatError
from hitless.wire.worker_frames import HttpHead, Response
from tests.hitless.gateway import Runtime, runtime

LEAST = {"specversion": "1.0", "id": "1", "source": "/here", "type": "org.example.told"}

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xD7FF), min_size=1, max_size=20).filter(
    lambda text: not cloudevents._NO_STRING.search(text)
)
URIS = st.sampled_from(("/here", "urn:uuid:1", "https://example.org/a?b#c", "%20"))
EXTENSIONS = st.dictionaries(
    st.from_regex(r"x[a-z0-9]{0,10}", fullmatch=True),
    TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1),
    max_size=3,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
DATA = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"datacontenttype": st.just("application/json"), "data": JSON}),
    st.fixed_dictionaries({"datacontenttype": st.just("text/plain"), "data": st.text(min_size=1)}),
    st.fixed_dictionaries({"datacontenttype": st.just("image/png"), "data_base64": st.just("AAEC")}),
)


@st.composite
def an_event(draw: st.DrawFn) -> dict[str, Any]:
    least = {"specversion": "1.0", "id": draw(TEXT), "source": draw(URIS), "type": draw(TEXT)}
    more = draw(st.fixed_dictionaries({}, optional={"subject": TEXT, "time": st.just("2026-11-30T20:05:00.5+01:00")}))
    return least | more | draw(EXTENSIONS) | draw(DATA)


@settings(max_examples=40, deadline=None)
@given(an_event())
def test_an_event_survives_both_modes(event: dict[str, Any]) -> None:
    assert cloudevents.from_json(cloudevents.to_json(event)) == event
    headers, body = cloudevents.to_http(event)
    assert all(value.isascii() and value.isprintable() for name, value in headers.items() if name != "content-type")
    # In headers everything is text.
    written = {
        name: json.dumps(value) if isinstance(value, (bool, int)) and name not in ("data",) else value
        for name, value in event.items()
    }
    assert cloudevents.from_http(headers, body) == written


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ("content-type", "ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-data", "ce-X")
        ),
        st.sampled_from(
            ("1.0", STRUCTURED, "application/json", "application/cloudevents-batch+json", "", "%ff", '"', "/")
        )
        | st.text(max_size=8),
    ),
    st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000),
)
def test_whatever_comes_is_an_event_or_refused_in_words(headers: dict[str, str], body: bytes) -> None:
    for decode in (
        lambda: cloudevents.from_http(headers, body),
        lambda: cloudevents.from_mqtt(body, headers.get("content-type"), list(headers.items())),
        lambda: cloudevents.from_json(body),
    ):
        try:
            decode()
        except CloudEventError as error:
            assert str(error) and error.status in (400, 415)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"specversion": "0.3"}, "specversion: expected 1.0, got '0.3'"),
        ({"id": None}, "id: expected, but missing"),
        ({"id": ""}, "id: expected text that is not empty"),
        ({"type": 3}, "type: expected text that is not empty"),
        ({"source": "a b"}, "source: expected a URI"),
        ({"time": "yesterday"}, "time: expected one such as"),
        ({"Colour": "red"}, "'Colour': expected an attribute's name"),
        ({"colour": 1.5}, "colour: expected text, true, false or an integer"),
        ({"colour": 2**31}, "colour: expected text, true, false or an integer"),
        ({"colour": "a\n"}, "colour: expected text without control characters"),
        ({"data": 1, "data_base64": "AA=="}, "data and data_base64: expected one of them"),
        ({"data_base64": "A"}, "data_base64: expected text in base64"),
    ],
)
def test_what_is_no_event_is_told_by_its_attribute(change: dict[str, Any], told: str) -> None:
    with pytest.raises(CloudEventError, match=f"^{re.escape(told)}"):
        cloudevents.from_json(json.dumps(LEAST | change).encode())


@pytest.mark.parametrize("more", [{"streamed": True}, {"health_check": {"path": "/"}}])
def test_what_cannot_be_an_event_is_refused_with_the_configuration(more: dict[str, Any]) -> None:
    endpoint = {"address": "10.96.0.4", "port": 8000, "service_id": 4, "protocol": "tcp"}
    configuration = {"service": "web", "payload_format_version": "cloudevents", "endpoints": {"web": endpoint}}
    assert ServiceConfiguration.read(configuration) is not None
    with pytest.raises(ServiceConfigurationError, match=f"{next(iter(more))}: expected"):
        ServiceConfiguration.read(configuration | more)


def test_messages_of_mqtt() -> None:
    structured = json.dumps(LEAST).encode()
    assert cloudevents.from_mqtt(structured, STRUCTURED) == LEAST
    assert cloudevents.from_mqtt(structured) == LEAST, "from a publisher that has no content types"
    binary = cloudevents.from_mqtt(b'{"a": 1}', "application/json", [*LEAST.items(), ("subject", "s")])
    assert binary == {**LEAST, "subject": "s", "datacontenttype": "application/json", "data": {"a": 1}}
    for plain in (b"21.5", b'{"specversion": "1.0"}', b"{", b"\xff", b""):
        assert cloudevents.from_mqtt(plain) is None
    with pytest.raises(CloudEventError, match="user property id came several times"):
        cloudevents.from_mqtt(b"", None, [*LEAST.items(), ("id", "2")])
    with pytest.raises(UnsupportedFormatError, match="batches are not served"):
        cloudevents.from_mqtt(b"[]", "application/cloudevents-batch+json")


HANDLER = """
def lambda_handler(event, context):
    match event.get("type"):
        case "answer":
            return {"specversion": "1.0", "id": "a 1", "source": "/function", "type": "answered", "data": event["data"]}
        case "wrong":
            return {"specversion": "1.0", "id": "", "source": "/function", "type": "answered"}
        case "status":
            return {"statusCode": 202, "body": ""}
    return event
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("cloudevents")
    (folder / "handlers.py").write_text(HANDLER)
    with runtime("handlers.lambda_handler", folder, tmp_path_factory.mktemp("sockets")) as running:
        running.worker.configure(payload_format_version="cloudevents")
        yield running


def post(function: Runtime, headers: dict[str, str], body: bytes) -> Response:
    lower = {name.lower(): value for name, value in headers.items()}
    return function.worker.call(body, http=HttpHead("POST", "/", headers=lower))


def sent(function: Runtime, message: HTTPMessage) -> Response:
    return post(function, dict(message.headers), message.body)


def client_event(kind: str, data: Any = None, content_type: str = "application/json", **more: Any) -> CloudEvent:
    """An event as the CloudEvents project's own Python client makes it."""
    at = datetime(2026, 11, 30, 20, 5, tzinfo=UTC)
    attributes = {"specversion": "1.0", "id": "ü 1", "source": "/sensor", "type": kind, "time": at}
    return CloudEvent(attributes | {"datacontenttype": content_type} | more, data)


def test_a_function_gets_what_the_projects_own_client_sends(function: Runtime) -> None:
    event = client_event("told", {"celsius": 21.5}, room="1")
    expected = {
        "specversion": "1.0",
        "id": "ü 1",
        "source": "/sensor",
        "type": "told",
        "time": "2026-11-30T20:05:00Z",
        "room": "1",
        "datacontenttype": "application/json",
        "data": {"celsius": 21.5},
    }
    for message in (to_binary_event(event), to_structured_event(event)):
        response = sent(function, message)
        # It returns its event, which goes out as one, in the mode in which it came.
        assert response.status == 200, response.body
        returned = from_http_event(HTTPMessage(dict(response.headers), response.body))
        assert (returned.get_id(), returned.get_data()) == ("ü 1", {"celsius": 21.5})
        assert ("ce-id" in response.headers) is ("ce-id" in message.headers)
        echoed = cloudevents.from_http(response.headers, response.body)
        assert echoed == expected
    picture = sent(function, to_binary_event(client_event("told", b"\x00\x01", "image/png")))
    assert (picture.body, picture.headers["content-type"]) == (b"\x00\x01", "image/png")


def test_a_function_answers_with_an_event_or_with_anything_else(function: Runtime) -> None:
    response = sent(function, to_binary_event(client_event("answer", [1, 2])))
    returned = from_http_event(HTTPMessage(dict(response.headers), response.body))
    assert (returned.get_id(), returned.get_type(), returned.get_data()) == ("a 1", "answered", [1, 2])
    assert sent(function, to_binary_event(client_event("status", 1))).status == 202
    wrong = sent(function, to_binary_event(client_event("wrong", 1)))
    assert wrong.status == 502 and b"id: expected text that is not empty" in wrong.body
    udp = function.worker.call(json.dumps({**LEAST, "type": "answer", "data": 3}).encode())
    assert cloudevents.from_json(udp.body)["data"] == 3


@pytest.mark.parametrize(
    ("headers", "body", "status", "told"),
    [
        ({}, b"{}", 400, "expected application/cloudevents+json as content-type, or a header ce-specversion"),
        ({"content-type": STRUCTURED}, b"{", 400, "expected JSON"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", 415, "batches are not served"),
        ({"content-type": "application/cloudevents+xml"}, b"<a/>", 415, "expected application/cloudevents+json"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/"}, b"", 400, "type: expected, but missing"),
        (
            {**{f"ce-{name}": value for name, value in LEAST.items()}, "content-type": "application/json"},
            b"{",
            400,
            "expected JSON",
        ),
    ],
)
def test_what_is_no_event_does_not_reach_the_function(
    function: Runtime, headers: dict[str, str], body: bytes, status: int, told: str
) -> None:
    response = post(function, headers, body)
    assert response.status == status
    assert told in json.loads(response.body)["message"]


def test_a_header_that_came_twice_is_no_attribute(function: Runtime) -> None:
    headers = {f"ce-{name}": value for name, value in LEAST.items()} | {"ce-id": "1, 2"}
    head = HttpHead("POST", "/", headers=headers, repeated={"ce-id": ("1", "2")})
    response = function.worker.call(http=head)
    assert response.status == 400 and b"ce-id came several times" in response.body
