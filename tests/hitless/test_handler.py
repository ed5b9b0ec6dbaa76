"""Lambda's calling convention: events, contexts, results."""

import base64
import io
import json
import sys
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.runtime.context import Context, RequestIds
from hitless.runtime.event import event_of
from hitless.runtime.handler import HandlerError, load
from hitless.runtime.result import IllegalAnswer, MarshalError, Parts, result_of
from hitless.wire.worker_frames import HttpHead, Request

NOW = 1_790_000_000.25


def event(body: bytes = b"", http: HttpHead | None = None, payload: str = "2.0") -> dict[str, Any]:
    return event_of(request(body, http), "id", "f", NOW, payload=payload)


def request(body: bytes = b"", http: HttpHead | None = None) -> Request:
    return Request(1, 2, 3, 4, 5000, body, http)


@given(st.binary(max_size=3000))
def test_event_of_a_datagram_request(payload: bytes) -> None:
    made = event(payload)
    assert made["version"] == "2.0" and made["rawPath"] == "/"
    assert base64.b64decode(made.get("body", "")) == payload
    assert made["isBase64Encoded"] is (payload != b"")
    assert (made["headers"]["x-client-id"], made["headers"]["x-request-id"]) == ("2", "3")
    json.dumps(made)


def test_event_of_an_http_request() -> None:
    head = HttpHead("GET", "/a/b", "width=3&x=&y=%20z", {"user-agent": "curl", "host": "h"}, "10.0.0.1")
    made = event(http=head)
    assert made["rawPath"] == "/a/b" and made["rawQueryString"] == "width=3&x=&y=%20z"
    assert made["queryStringParameters"] == {"width": "3", "x": "", "y": " z"}
    assert made["headers"]["host"] == "h"
    assert made["requestContext"]["http"] == {
        "method": "GET",
        "path": "/a/b",
        "protocol": "HTTP/1.1",
        "sourceIp": "10.0.0.1",
        "userAgent": "curl",
    }
    assert not {"body", "cookies"} & made.keys() and made["isBase64Encoded"] is False


def test_what_stood_several_times_is_joined_in_an_event_2() -> None:
    sent = {"cookie": "a=1; b=2;c=3", "accept": "x,y"}
    made = event(http=HttpHead("GET", "/", "x=1&y=%2C&x=2", sent, "", {"accept": ["x", "y"]}))
    assert made["queryStringParameters"] == {"x": "1,2", "y": ","}
    assert made["cookies"] == ["a=1", "b=2", "c=3"]
    assert made["headers"] == {"accept": "x,y"}


def test_what_stood_several_times_is_a_list_in_an_event_1() -> None:
    sent = {"cookie": "a=1; b=2", "accept": "x,y", "host": "h"}
    head = HttpHead("POST", "/a/b", "x=1&x=2", sent, "10.0.0.1", {"accept": ["x", "y"], "cookie": ["a=1", "b=2"]})
    made = event(b"{}", head, "1.0")
    assert (made["version"], made["httpMethod"], made["path"]) == ("1.0", "POST", "/a/b")
    assert (made["resource"], made["pathParameters"]) == ("/{proxy+}", {"proxy": "a/b"})
    assert made["headers"] == {"cookie": "a=1; b=2", "accept": "y", "host": "h"}
    assert made["multiValueHeaders"] == {"cookie": ["a=1; b=2"], "accept": ["x", "y"], "host": ["h"]}
    assert made["queryStringParameters"] == {"x": "2"}
    assert made["multiValueQueryStringParameters"] == {"x": ["1", "2"]}
    assert made["requestContext"]["identity"]["sourceIp"] == "10.0.0.1"
    assert made["requestContext"]["requestTimeEpoch"] == 1_790_000_000_250
    bare = event(http=HttpHead("GET", "/"), payload="1.0")
    empty = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables", "body")
    assert {name: bare[name] for name in empty} == dict.fromkeys(empty)
    json.dumps(made)


@pytest.mark.parametrize(
    ("host", "name", "prefix"),
    [
        ("shop.example.org:8000", "shop.example.org", "shop"),
        ("shop", "shop", "shop"),
        ("10.96.0.4:8000", "10.96.0.4", "10.96.0.4"),
        ("[::1]:80", "[::1]", "[::1]"),
        ("[::1]", "[::1]", "[::1]"),
    ],
)
def test_the_context_of_a_request(host: str, name: str, prefix: str) -> None:
    context = event(http=HttpHead("GET", "/", headers={"host": host}))["requestContext"]
    assert (context["domainName"], context["domainPrefix"]) == (name, prefix)
    assert (context["apiId"], context["requestId"], context["stage"]) == ("f", "id", "$default")
    assert (context["time"], context["timeEpoch"]) == ("21/Sep/2026:14:13:20 +0000", 1_790_000_000_250)


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
    made = event(body, HttpHead("POST", "/", "", {"content-type": content_type}))
    assert made["isBase64Encoded"] is not text
    assert (made["body"].encode() if text else base64.b64decode(made["body"])) == body


def test_no_two_executions_have_one_id() -> None:
    workers = [RequestIds() for _ in range(20)]
    ids = [worker.next() for worker in workers for _ in range(20)]
    assert len(set(ids)) == 400
    assert {(parsed.version, parsed.variant, str(parsed) == one) for one in ids for parsed in [uuid.UUID(one)]} == {
        (4, uuid.RFC_4122, True)
    }


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        ({"statusCode": 201, "body": "x"}, 201, b"x"),
        ({"statusCode": 200, "body": "AAE=", "isBase64Encoded": True}, 200, b"\x00\x01"),
        ({"statusCode": 200, "body": "AA\nE=\n", "isBase64Encoded": True}, 200, b"\x00\x01"),
        ({"statusCode": "201", "body": "x"}, 201, b"x"),
        ({"statusCode": 204}, 204, b""),
        ({"n": Decimal(3), "x": Decimal("0.5")}, 200, b'{"n": 3, "x": 0.5}'),
        ({"statusCode": 200, "body": {"a": 1}}, 200, b'{"a": 1}'),
        ({"a": 1}, 200, b'{"a": 1}'),
        ("Hello, µ", 200, "Hello, µ".encode()),
        ([1, None], 200, b"[1, null]"),
        (None, 200, b"null"),
        ({"statusCode": 200, "body": None}, 200, b""),
    ],
)
def test_results(value: object, status: int, body: bytes) -> None:
    result = result_of(value)
    assert (result.status, result.body) == (status, body)
    assert result.headers["content-type"] == "application/json"


def test_result_headers() -> None:
    result = result_of({"statusCode": 200, "headers": {"Content-Type": "image/png", "X-N": 3}})
    assert result.headers == {"content-type": "image/png", "x-n": "3"}


def test_a_result_with_cookies_and_several_values() -> None:
    result = result_of(
        {
            "statusCode": 200,
            "headers": {"Set-Cookie": "a=1", "Vary": "x"},
            "multiValueHeaders": {"vary": ["x", "y"], "Link": ["z"], "Content-Type": ["text/html"]},
            "cookies": ["b=2; HttpOnly", "c=3"],
        }
    )
    assert result.headers["set-cookie"].split("\n") == ["a=1", "b=2; HttpOnly", "c=3"]
    assert (result.headers["vary"], result.headers["link"], result.headers["content-type"]) == (
        "x, y",
        "z",
        "text/html",
    )
    assert result_of({"statusCode": 200, "cookies": None, "multiValueHeaders": None}).headers.keys() == {"content-type"}
    assert "set-cookie" not in result_of({"statusCode": 200, "cookies": []}).headers


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), "not JSON"),
        ({"statusCode": "fine"}, "statusCode"),
        ({"statusCode": "20\u0660"}, "statusCode"),
        ({"statusCode": 200, "cookies": "a=1"}, "cookies of type str, expected a list"),
        ({"statusCode": 200, "multiValueHeaders": {"a": "1"}}, "expected a list"),
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
        {"statusCode": 200, "headers": {"set-cookie": "a=1\nb=2"}},
        {"statusCode": 200, "cookies": ["a=1\nset-cookie: b=2"]},
        {"statusCode": 200, "cookies": [1j]},
        {"statusCode": 200, "multiValueHeaders": {"a": ["1\r\nb: 2"]}},
        {"statusCode": 200, "multiValueHeaders": []},
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
    assert Context("id", {}, 101.5).get_remaining_time_in_millis() == 1500
    assert Context("id", {}, 99.0).get_remaining_time_in_millis() == 0


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("lambda_handler", "expected module.function"),
        ("nowhere_m.f", "no module nowhere_m"),
        ("thing_m.missing", "has no function missing"),
        ("thing_m.VALUE", "has no function VALUE"),
        ("nowhere_m.deep.f", "no module nowhere_m.deep"),
        ("time.f", "time is a module of Python itself"),
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


@pytest.mark.parametrize("name", ["package_m.inner.thing.f", "package_m/inner/thing.f"])
def test_a_handler_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("sys.path", [])
    folder = tmp_path / "package_m" / "inner"
    folder.mkdir(parents=True)
    (folder / "thing.py").write_text("def f(event, context): return 7\n")
    try:
        assert load(name, tmp_path)({}, Context("id", {}, 0.0)) == 7
    finally:
        for module in [one for one in sys.modules if one.partition(".")[0] == "package_m"]:
            del sys.modules[module]


def test_what_is_no_json_is_said_as_lambda_says_it() -> None:
    with pytest.raises(MarshalError, match="Unable to marshal response: Object of type set is not JSON serializable"):
        result_of({"a": {1}})


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "loads_m.py").write_text("def f(event, context): return event\n")
    handler = load("loads_m.f", tmp_path)
    given: dict[str, Any] = {"a": 1}
    assert handler(given, Context("id", {}, 0.0)) is given
    with pytest.raises(HandlerError, match="does not exist"):
        load("loads_m.f", tmp_path / "nowhere")
