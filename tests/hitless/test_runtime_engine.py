"""Lambda's Runtime API without a process: what a runtime sends, in whatever pieces, and what it gets."""

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.runtime.handler import HandlerError
from hitless.runtime.result import IllegalAnswer, JsonText, result_of
from hitless.wire.runtime_api import (
    AnswerBegun,
    Answered,
    AnswerEnded,
    AnswerPart,
    Event,
    Failed,
    Fault,
    InitFailed,
    Invocation,
    RuntimeApi,
    Started,
)

NEXT = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
ONE = Invocation("one", {"Lambda-Runtime-Deadline-Ms": "7"}, b'{"a": 1}')
STREAM = (
    "POST /2018-06-01/runtime/invocation/one/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    "Content-Type: text/plain\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
)


def post(path: str, body: str, *fields: str) -> str:
    lines = [f"POST /2018-06-01/runtime/{path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", body])


class Side:
    """A runtime's side of the API, without sockets."""

    def __init__(self) -> None:
        self.api = RuntimeApi()
        self.api.opened(1)

    def send(self, text: str, connection: int = 1) -> str:
        """Send it, and return what comes back on any connection."""
        self.api.received(connection, text.encode())
        return self.answers()

    def answers(self) -> str:
        data = b"".join(one.data + (b"<close>" if one.close else b"") for one in self.api.to_send)
        self.api.to_send.clear()
        return data.decode()

    def happened(self) -> list[Event]:
        events = list(self.api.events)
        self.api.events.clear()
        return events


@pytest.fixture
def side() -> Iterator[Side]:
    yield Side()


@pytest.fixture
def invoked(side: Side) -> Side:
    """With the invocation `one` in hand."""
    side.send(NEXT)
    side.api.offer(ONE)
    side.answers()
    side.happened()
    return side


@pytest.mark.parametrize("asked_first", [True, False])
def test_an_invocation(side: Side, asked_first: bool) -> None:
    answer = ""
    if asked_first:
        assert side.send(NEXT) == "" and side.happened() == [Started()]
        side.api.offer(ONE)
        answer = side.answers()
    else:
        side.api.offer(ONE)
        answer = side.send(NEXT)
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n") and body == '{"a": 1}'
    assert {"Lambda-Runtime-Aws-Request-Id: one", "Lambda-Runtime-Deadline-Ms: 7", "Content-Length: 8"} <= set(
        head.split("\r\n")
    )
    side.happened()
    assert side.send(post("invocation/one/response", '"x"')).startswith("HTTP/1.1 202 Accepted\r\n")
    assert side.happened() == [Answered(b'"x"')]


def test_each_request_may_come_on_a_connection_of_its_own(side: Side) -> None:
    side.send(NEXT.replace("Host: x", "Host: x\r\nConnection: close"))
    side.api.offer(ONE)
    assert side.answers().endswith('{"a": 1}<close>')
    side.api.closed(1)
    side.api.opened(2)
    side.happened()
    side.send(post("invocation/one/response", "1"), 2)
    assert side.happened() == [Answered(b"1")]


def test_a_connection_that_stops_waiting_gets_nothing(side: Side) -> None:
    side.send(NEXT)
    side.api.closed(1)
    side.api.opened(2)
    side.api.offer(ONE)
    assert side.answers() == ""
    assert side.send(NEXT, 2).endswith('{"a": 1}')


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_answer_in_parts_comes_in_any_pieces(invoked: Side, step: int) -> None:
    text = STREAM + "4\r\none \r\n3;x=y\r\ntwo\r\n0\r\n\r\n"
    answers = "".join(invoked.send(text[at : at + step]) for at in range(0, len(text), step))
    begun, *parts, ended = invoked.happened()
    assert begun == AnswerBegun("text/plain") and ended == AnswerEnded(None)
    assert b"".join(part.data for part in parts if isinstance(part, AnswerPart)) == b"one two"
    assert answers.startswith("HTTP/1.1 202")
    assert invoked.send(NEXT) == "", "it waits for the next one"


def test_an_error_within_an_answer_is_in_its_trailers(invoked: Side) -> None:
    said = base64.b64encode(
        json.dumps({"errorType": "A.B", "errorMessage": "m", "stackTrace": ["l"]}).encode()
    ).decode()
    trailers = f"Lambda-Runtime-Function-Error-Type: A.B\r\nLambda-Runtime-Function-Error-Body: {said}\r\n"
    invoked.send(f"{STREAM}3\r\none\r\n0\r\n{trailers}\r\n")
    assert invoked.happened()[-1] == AnswerEnded(Fault("A.B", "m", ("l",)))


def test_an_answer_that_breaks_off_has_failed(invoked: Side) -> None:
    invoked.send(f"{STREAM}3\r\none\r\n")
    invoked.api.closed(1)
    ended = invoked.happened()[-1]
    assert isinstance(ended, AnswerEnded) and ended.fault is not None and "Truncated" in ended.fault.kind
    invoked.api.opened(2)
    invoked.send(NEXT, 2)
    invoked.api.offer(ONE)
    invoked.send(post("invocation/one/response", "12345")[:-1], 2)
    invoked.api.closed(2)
    (failed,) = invoked.happened()
    assert isinstance(failed, Failed) and "Truncated" in failed.fault.kind


def test_what_is_left_of_an_abandoned_answer_meets_nobody(invoked: Side) -> None:
    invoked.send(f"{STREAM}3\r\none\r\n")
    invoked.api.offer(Invocation("two", {}, b"{}"))
    assert invoked.answers() == "<close>" and invoked.happened() == []
    assert invoked.send("3\r\ntwo\r\n0\r\n\r\n") == "" and invoked.happened() == []


@pytest.mark.parametrize(
    ("body", "fields", "fault"),
    [
        ('{"errorType": "A", "errorMessage": "m", "stackTrace": ["l"]}', ["Lambda-Runtime-Function-Error-Type: B"],
         Fault("A", "m", ("l",))),
        ('{"errorMessage": "m", "stackTrace": "none"}', ["Lambda-Runtime-Function-Error-Type: B"], Fault("B", "m")),
        ('{"errorType": "A", "errorMessage": "m", "trace": ["l"]}', [], Fault("A", "m", ("l",))),
        ("no JSON", [], Fault("Unknown", "no JSON")),
        ("", [], Fault("Unknown", "")),
    ],
)  # fmt: skip
def test_errors_that_a_runtime_tells(side: Side, body: str, fields: list[str], fault: Fault) -> None:
    assert side.send(post("init/error", body, *fields)).startswith("HTTP/1.1 202")
    assert side.happened() == [InitFailed(fault)]
    side.api.offer(ONE)
    side.send(NEXT)
    side.happened()
    assert side.send(post("invocation/one/error", body, *fields)).startswith("HTTP/1.1 202")
    assert side.happened() == [Failed(fault)]


@pytest.mark.parametrize(
    ("request_text", "status", "kind"),
    [
        (NEXT, 403, "InvalidStateTransition"),
        (post("init/error", "{}"), 403, "InvalidStateTransition"),
        (post("invocation/two/response", "{}"), 400, "InvalidRequestID"),
        (post("invocation/two/error", "{}"), 400, "InvalidRequestID"),
        (post("invocation/one/else", "{}"), 404, "NotFound"),
        (post("restore/error", "{}"), 404, "NotFound"),
        (NEXT.replace("invocation", "restore"), 404, "NotFound"),
        (NEXT.replace("GET", "PUT"), 404, "NotFound"),
        (NEXT.replace("/2018-06-01/runtime/invocation/next", "/2020-01-01/extension/register"), 404, "NotFound"),
        ("nonsense\r\n\r\n", 400, "InvalidRequest"),
    ],
)
def test_requests_out_of_turn_are_refused_and_change_nothing(
    invoked: Side, request_text: str, status: int, kind: str
) -> None:
    head, _, body = invoked.send(request_text).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") and json.loads(body.removesuffix("<close>"))["errorType"] == kind
    assert invoked.happened() == []
    invoked.api.opened(2)
    assert invoked.send(post("invocation/one/response", "1"), 2).startswith("HTTP/1.1 202")
    assert invoked.happened() == [Answered(b"1")]


def test_a_second_answer_is_refused(invoked: Side) -> None:
    invoked.api.opened(2)
    invoked.send(f"{STREAM}3\r\none\r\n")
    assert invoked.send(post("invocation/one/error", "{}"), 2).startswith("HTTP/1.1 403")
    invoked.send("0\r\n\r\n")
    assert invoked.send(post("invocation/one/response", "2"), 2).startswith("HTTP/1.1 403")
    assert invoked.happened() == [AnswerBegun("text/plain"), AnswerPart(b"one"), AnswerEnded(None)]


def test_what_clients_of_http_do_beside_it(invoked: Side) -> None:
    """curl waits to be told to go on with a long body; Java's client offers HTTP/2 with each request."""
    expecting = post("invocation/one/response", "12", "Expect: 100-continue")
    assert invoked.send(expecting[:-2]) == "HTTP/1.1 100 Continue\r\n\r\n"
    assert invoked.send(expecting[-2:]).startswith("HTTP/1.1 202") and invoked.happened() == [Answered(b"12")]
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    assert invoked.send(NEXT.replace("Host: x", "\r\n".join(("Host: x", *offer)))) == ""
    invoked.api.offer(ONE)
    assert invoked.answers().endswith('{"a": 1}')
    assert invoked.send(post("invocation/one/response", "34", *offer)).startswith("HTTP/1.1 202")
    assert invoked.happened() == [Answered(b"34")]


def test_what_a_runtimes_answer_means() -> None:
    whole = result_of(JsonText(b'{"statusCode": "201", "cookies": ["a=1"], "body": "aGk=", "isBase64Encoded": true}'))
    assert (whole.status, whole.headers["set-cookie"], whole.body) == (201, "a=1", b"hi")
    for text in (b'{"b":1.50}', b"[1]", b"null"):
        sent = result_of(JsonText(text))
        assert (sent.status, sent.headers["content-type"], sent.body) == (200, "application/json", text), "as it is"
    said = result_of(JsonText(b'"hello"'))
    assert (said.headers["content-type"], said.body) == ("application/json", b"hello"), "as from Lambda"
    octets = result_of(JsonText(b"no JSON \xff"))
    assert (octets.headers["content-type"], octets.body) == ("application/octet-stream", b"no JSON \xff")
    with pytest.raises(IllegalAnswer):
        result_of(JsonText(b'{"statusCode": 99}'))
    with pytest.raises(HandlerError):
        result_of(JsonText(b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}'))


PIECES = [
    NEXT,
    NEXT.replace("Host: x", "Connection: close"),
    STREAM,
    "3\r\none\r\n",
    "0\r\n\r\n",
    "0\r\nLambda-Runtime-Function-Error-Type: A\r\nLambda-Runtime-Function-Error-Body: ?\r\n\r\n",
    post("invocation/one/response", "12", "Expect: 100-continue"),
    post("invocation/one/error", "\x00", "Lambda-Runtime-Function-Error-Type: \xff"),
    post("init/error", "[1]"),
    post("invocation/two/response", "1"),
    "GET / HTTP/1.0\r\n\r\n",
    "\r\n",
    "\x00\xff\ud7ff",
]
STEPS = st.one_of(
    st.tuples(st.integers(1, 2), st.sampled_from(PIECES), st.integers(0, 40)),
    st.sampled_from(["offer", "close", "cut"]),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_a_runtime_sends_an_invocation_is_given_once_and_ends_once(steps: list[object]) -> None:
    side = Side()
    side.api.opened(2)
    offered = given_out = ended = 0
    for step in steps:
        if step == "offer":
            if offered > ended:
                continue  # one at a time, says who offers them
            offered += 1
            side.api.offer(ONE)
        elif step == "close":
            side.api.closed(1)
            side.api.opened(1)
        elif step == "cut":
            side.api.cut()
        elif isinstance(step, tuple):
            number, text, left_out = step
            side.api.received(number, text.encode()[: len(text) - left_out] if left_out < len(text) else text.encode())
        for one in side.api.to_send:
            given_out += b"Lambda-Runtime-Deadline-Ms: 7" in one.data
            assert one.data or one.close
            if one.close:
                side.api.closed(one.connection)
                side.api.opened(one.connection)
        side.api.to_send.clear()
        ended += sum(isinstance(event, Answered | AnswerEnded | Failed) for event in side.happened())
        assert ended <= given_out <= offered
