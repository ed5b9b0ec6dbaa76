"""Lambda's calling convention: events, contexts, results."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.runtime.handler import Context, HandlerError, event_of, load, request_uuid
from hitless.runtime.result import IllegalAnswer, Parts, result_of
from hitless.wire.worker_frames import HttpHead, Request


def request(body: bytes = b"", http: HttpHead | None = None) -> Request:
    return Request(1, 2, 3, 4, 5000, body, http)


@given(st.binary(max_size=3000))
def test_event_of_a_datagram_request(payload: bytes) -> None:
    event = event_of(request(payload))
    assert event["version"] == "2.0" and event["rawPath"] == "/"
    assert base64.b64decode(event.get("body", "")) == payload
    assert event["isBase64Encoded"] is (payload != b"")
    json.dumps(event)


def test_event_of_an_http_request() -> None:
    head = HttpHead("GET", "/a/b", "width=3&x=&y=%20z", {"user-agent": "curl", "host": "h"}, "10.0.0.1")
    event = event_of(request(http=head))
    assert event["rawPath"] == "/a/b" and event["rawQueryString"] == "width=3&x=&y=%20z"
    assert event["queryStringParameters"] == {"width": "3", "x": "", "y": " z"}
    assert event["headers"]["host"] == "h"
    assert event["requestContext"]["http"] == {
        "method": "GET",
        "path": "/a/b",
        "protocol": "HTTP/1.1",
        "sourceIp": "10.0.0.1",
        "userAgent": "curl",
    }
    assert "body" not in event and event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', True),
        ("text/plain", "µ".encode(), True),
        ("text/plain", b"\xff", False),
        ("image/jpeg", b"abc", False),
    ],
)
def test_body_is_text_or_base64(content_type: str, body: bytes, text: bool) -> None:
    event = event_of(request(body, HttpHead("POST", "/", "", {"content-type": content_type})))
    assert event["isBase64Encoded"] is not text
    assert (event["body"].encode() if text else base64.b64decode(event["body"])) == body


def test_request_uuids_differ_by_client_and_request() -> None:
    ids = {
        request_uuid(Request(1, client, number, 0, 0, b"")) for client in (0, 1, 2**32 - 1) for number in (1, 2**64 - 1)
    }
    assert len(ids) == 6


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        ({"statusCode": 201, "body": "x"}, 201, b"x"),
        ({"statusCode": 200, "body": "AAE=", "isBase64Encoded": True}, 200, b"\x00\x01"),
        ({"statusCode": 204}, 204, b""),
        ({"statusCode": 200, "body": {"a": 1}}, 200, b'{"a": 1}'),
        ({"a": 1}, 200, b'{"a": 1}'),
        ("Hello, µ", 200, "Hello, µ".encode()),
        ([1, None], 200, b"[1, null]"),
        (None, 200, b""),
    ],
)
def test_results(value: object, status: int, body: bytes) -> None:
    result = result_of(value)
    assert (result.status, result.body) == (status, body)
    assert result.headers["content-type"] == "application/json"


def test_result_headers() -> None:
    result = result_of({"statusCode": 200, "headers": {"Content-Type": "image/png", "X-N": 3}})
    assert result.headers == {"content-type": "image/png", "x-n": "3"}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), "not JSON"),
        ({"statusCode": "200"}, "statusCode"),
        ({"statusCode": 42}, "statusCode"),
        ({"statusCode": 200, "headers": [1]}, "headers of type list"),
        ({"statusCode": 200, "isBase64Encoded": True, "body": "!"}, "not base64"),
        ({"statusCode": 200, "isBase64Encoded": True, "body": {}}, "not base64"),
        ({"statusCode": 200, "body": {1, 2}}, "not JSON"),
    ],
)
def test_results_that_are_none(value: object, complaint: str) -> None:
    with pytest.raises(HandlerError, match=complaint):
        result_of(value)


@pytest.mark.parametrize(
    "response",
    [
        {"statusCode": 100},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": 10**5000},
        {"statusCode": 200, "headers": {"a": "1\r\nb: 2"}},
        {"statusCode": 200, "headers": {"a": "1\x00"}},
        {"statusCode": 200, "headers": {"a": "\ud800"}},
        {"statusCode": 200, "headers": {"a": None}},
        {"statusCode": 200, "headers": {"a": b"1"}},
        {"statusCode": 200, "headers": {"a b": "1"}},
        {"statusCode": 200, "headers": {"": "1"}},
        {"statusCode": 200, "headers": {1: "1"}},
    ],
)
def test_what_http_does_not_have_is_no_answer(response: dict[str, object]) -> None:
    with pytest.raises(IllegalAnswer):
        result_of(response)
    closed = []

    def parts() -> Iterator[str]:
        try:
            yield "x"
        finally:
            closed.append(True)

    source = parts()
    next(source)
    with pytest.raises(IllegalAnswer):
        result_of(response | {"body": source})
    assert closed, "its generator is not left behind"


@pytest.mark.parametrize(
    "value", [iter(["a", b"b", memoryview(b"c")]), io.BytesIO(b"abc"), (one for one in "abc"), io.StringIO("abc")]
)
def test_results_in_parts(value: object) -> None:
    result = result_of(value)
    assert isinstance(result.body, Parts) and b"".join(result.body) == b"abc"
    assert result.headers == {"content-type": "application/octet-stream"}


def test_a_part_that_is_neither_bytes_nor_text() -> None:
    result = result_of({"statusCode": 200, "body": iter([1])})
    assert isinstance(result.body, Parts)
    with pytest.raises(HandlerError, match="part of the body is a int"):
        list(result.body)


def test_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    assert Context("id", "f", {}, 101.5).get_remaining_time_in_millis() == 1500
    assert Context("id", "f", {}, 99.0).get_remaining_time_in_millis() == 0


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("lambda_handler", "expected module.function"),
        ("nowhere_m.f", "no module nowhere_m"),
        ("thing_m.missing", "has no function missing"),
        ("thing_m.VALUE", "has no function VALUE"),
    ],
)
def test_handlers_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "thing_m.py").write_text("VALUE = 1\n")
    with pytest.raises(HandlerError, match=complaint):
        load(name, tmp_path)


def test_a_handlers_own_import_error_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "needy_m.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load("needy_m.f", tmp_path)


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "loads_m.py").write_text("def f(event, context): return event\n")
    handler = load("loads_m.f", tmp_path)
    event: dict[str, Any] = {"a": 1}
    assert handler(event, Context("id", "f", {}, 0.0)) is event
    with pytest.raises(HandlerError, match="does not exist"):
        load("loads_m.f", tmp_path / "nowhere")
