"""Lambda's events and results over HTTP: from the client through a whole gateway to the handler and back."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie

import pytest

from tests.agent.gateway import Gateway, running_gateway
from tests.patience import PATIENCE

FUNCTION = """
import os, time

def lambda_handler(event, context):
    match event.get("rawPath", event.get("path")):
        case "/log-in":
            return {"statusCode": "302", "headers": {"location": "/", "set-cookie": "first=1"},
                    "cookies": ["session=abc; HttpOnly", "theme=dark"]}
        case "/parts":
            return {"statusCode": 200, "cookies": ["a=1", "b=2"], "body": iter(["x", "y"])}
        case "/several":
            return {"statusCode": 200, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"], "vary": ["x", "y"]}}
        case "/exit":
            os._exit(3)
        case "/late":
            time.sleep(3600)
        case "/header":
            return {"statusCode": 200, "cookies": ["a=1\\r\\nx-injected: b"], "body": "never"}
        case "/number":
            return context.aws_request_id
    return event
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway(FUNCTION) as running:
        running.serve()
        yield running


def ask(
    gateway: Gateway, path: str, *fields: tuple[str, str], host: str = "shop.example.org"
) -> tuple[int, str, list[tuple[str, str]]]:
    with closing(HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)) as client:
        client.putrequest("GET", path, skip_host=True)
        for name, value in (("Host", host), *fields):
            client.putheader(name, value)
        client.endheaders()
        answer = client.getresponse()
        return answer.status, answer.read().decode(), answer.getheaders()


def cookies_of(fields: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in fields if name.lower() == "set-cookie"]


def test_each_cookie_is_a_line_of_its_own_and_comes_back_as_one(gateway: Gateway) -> None:
    status, _, fields = ask(gateway, "/log-in")
    assert (status, cookies_of(fields)) == (302, ["first=1", "session=abc; HttpOnly", "theme=dark"])
    kept = SimpleCookie()
    for cookie in cookies_of(fields):
        kept.load(cookie)
    sent = "; ".join(f"{name}={morsel.value}" for name, morsel in kept.items())
    event = json.loads(ask(gateway, "/", ("Cookie", sent))[1])
    assert event["cookies"] == ["first=1", "session=abc", "theme=dark"] and "cookie" not in event["headers"]


@pytest.mark.parametrize("path", ["/parts", "/several"])
def test_cookies_of_other_answers(gateway: Gateway, path: str) -> None:
    status, _, fields = ask(gateway, path)
    assert (status, cookies_of(fields)) == (200, ["a=1", "b=2"])
    assert path != "/several" or dict(fields)["vary"] == "x, y"


def test_what_comes_several_times_reaches_both_forms_of_the_event(gateway: Gateway) -> None:
    fields = (("X-A", "1, 2"), ("x-a", "3"), ("Cookie", "a=1"), ("Cookie", "b=2"))
    event = json.loads(ask(gateway, "/a%20b?x=1&x=2&y=%20", *fields, host="shop.example.org:80")[1])
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b", "x=1&x=2&y=%20")
    assert event["queryStringParameters"] == {"x": "1,2", "y": " "}
    assert (event["headers"]["x-a"], event["cookies"]) == ("1, 2,3", ["a=1", "b=2"])
    assert event["requestContext"]["domainName"] == "shop.example.org"
    gateway.configure(payload_format_version="1.0")
    try:
        gateway.take_role()
        event = json.loads(ask(gateway, "/a%20b?x=1&x=2", *fields)[1])
    finally:
        gateway.configure()
        gateway.take_role()
    assert (event["version"], event["multiValueQueryStringParameters"]) == ("1.0", {"x": ["1", "2"]})
    assert (event["headers"]["x-a"], event["multiValueHeaders"]["x-a"]) == ("3", ["1, 2", "3"])
    assert event["multiValueHeaders"]["cookie"] == ["a=1; b=2"]


def test_one_number_given_twice_is_two_executions(gateway: Gateway) -> None:
    given = ("X-Request-Id", "7"), ("X-Client-Id", "1")
    assert ask(gateway, "/number", *given)[1] != ask(gateway, "/number", *given)[1]


def test_requests_that_end_their_worker_cost_only_themselves_however_often() -> None:
    with running_gateway(FUNCTION) as gateway:
        gateway.serve()
        for path in ("/exit", "/exit", "/header", "/exit", "/exit"):
            status, body, fields = ask(gateway, path)
            assert status == 502 and "x-injected" not in dict(fields), body
        gateway.configure(timeout_ms=200)
        gateway.take_role()
        assert ask(gateway, "/late")[0] == 504
        gateway.configure()
        gateway.take_role()
        assert ask(gateway, "/number")[0] == 200


def test_a_cookie_with_a_line_feed_is_never_a_header() -> None:
    from greengrass_agent.gateway.http.answers import Framing, fault, head

    sent = {"set-cookie": "a=1\nx-injected: b", "x-b": "1\n2"}
    assert fault(200, sent) == "the value of header x-b is no text of one line"
    assert fault(200, {"set-cookie": "a=1\r\nb=2"}) is not None
    lines = head(200, {"set-cookie": sent["set-cookie"]}, Framing(0), "n1", "", 0.0)
    assert re.findall(rb"(?im)^(?:set-cookie|x-injected): .*?(?=\r$)", lines) == [
        b"set-cookie: a=1",
        b"set-cookie: x-injected: b",
    ]
