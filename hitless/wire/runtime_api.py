"""Lambda's Runtime API, version 2018-06-01, as a function's runtime sees it. Sans-I/O: bytes in, bytes and events out.

A runtime asks for an invocation, which it gets when there is one; answers it or says that it failed; and asks again.
One invocation is in hand at a time. Any connection may carry any request: some runtimes keep one, and a script has one
for each request.

Sources: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"; what is answered to requests
out of turn, and the names of errors, is AWS's Runtime Interface Emulator's (aws-lambda-runtime-interface-emulator,
internal/lambda/rapi). Streaming: the same guide, "Custom runtimes: response streaming".
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from hitless.wire.runtime_requests import Complete, Data, Head, Malformed, RequestReader

PREFIX = "/2018-06-01/runtime/"
_NEXT = f"{PREFIX}invocation/next"
_INIT_ERROR = f"{PREFIX}init/error"
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
_ACCEPTED = b'{"status":"OK"}\n'
_TRUNCATED = "Runtime.TruncatedResponse"


class Invocation(NamedTuple):
    """What a runtime gets that asks for one."""

    id: str
    headers: Mapping[str, str]
    """Fields beside its id."""
    event: bytes


class Fault(NamedTuple):
    """What a runtime says of an error."""

    kind: str
    message: str
    trace: tuple[str, ...] = ()


class Started(NamedTuple):
    """The runtime has asked for its first invocation: it is warm."""


class InitFailed(NamedTuple):
    """The runtime cannot serve, and says why; it is expected to end."""

    fault: Fault


class Answered(NamedTuple):
    """The whole answer to the invocation in hand."""

    body: bytes


class AnswerBegun(NamedTuple):
    """An answer that comes in parts begins."""

    content_type: str


class AnswerPart(NamedTuple):
    """The next part."""

    data: bytes


class AnswerEnded(NamedTuple):
    """No more parts."""

    fault: Fault | None
    """Why the answer is not complete; None if it is."""


class Failed(NamedTuple):
    """The invocation in hand has failed."""

    fault: Fault


Event = Started | InitFailed | Answered | AnswerBegun | AnswerPart | AnswerEnded | Failed


class ToSend(NamedTuple):
    """Bytes for a connection."""

    connection: int
    data: bytes
    close: bool
    """Whether it is to be closed behind them."""


class _Connection:
    """One connection and the request on it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reader = RequestReader()
        self.request: Head | None = None
        self.refusal: tuple[int, str, str] | None = None
        """What the request is answered with when it is complete: status, errorType, errorMessage."""
        self.body: list[bytes] = []
        self.waits = False
        """Whether it has asked for an invocation and got none yet."""


class RuntimeApi:
    """The API of one runtime, over any number of connections, which the caller numbers."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        """What has happened, in order, to be taken."""
        self.to_send: deque[ToSend] = deque()
        """What is to be written, in order, to be taken."""
        self._connections: dict[int, _Connection] = {}
        self._waiting: deque[_Connection] = deque()
        self._started = False
        self._offered: Invocation | None = None
        """An invocation that nobody has asked for yet."""
        self._in_hand: str | None = None
        """The id of the invocation that was given out, until it is answered."""
        self._answered: str | None = None
        """The id of the invocation before, until another is in hand."""
        self._answering: _Connection | None = None
        """On which the answer to the invocation in hand comes."""
        self._streaming = False
        """Whether that answer comes in parts."""

    @property
    def asked(self) -> bool:
        """Whether the runtime waits for an invocation."""
        return bool(self._waiting)

    def offer(self, invocation: Invocation) -> None:
        """Give this to the next that asks. What is left of an answer to an earlier invocation is not taken any more."""
        self.cut()
        self.events.clear()
        if self._waiting:
            self._give(self._waiting.popleft(), invocation)
        else:
            self._offered = invocation

    def cut(self) -> None:
        """Close the connection on which an answer still comes."""
        if self._answering is not None:
            number = self._answering.number
            self.closed(number)
            self.to_send.append(ToSend(number, b"", True))

    def opened(self, number: int) -> None:
        """A connection was made."""
        self._connections[number] = _Connection(number)

    def closed(self, number: int) -> None:
        """A connection is gone, or nothing more comes on it."""
        connection = self._connections.pop(number, None)
        if connection is None:
            return
        if connection.waits:
            self._waiting.remove(connection)
        if connection is self._answering:
            fault = Fault(_TRUNCATED, "the runtime's connection ended within its answer")
            self._end(AnswerEnded(fault) if self._streaming else Failed(fault))

    def received(self, number: int, data: bytes) -> None:
        """Bytes came on a connection."""
        connection = self._connections.get(number)
        if connection is None:
            return
        for found in connection.reader.feed(data):
            match found:
                case Head():
                    self._begin(connection, found)
                case Data(part):
                    self._take(connection, part)
                case Complete(trailers):
                    self._complete(connection, trailers)
                case Malformed(reason):
                    self._reply(connection, 400, _error("InvalidRequest", reason), close=True)
                    self.closed(number)
            if number not in self._connections:
                return

    def _begin(self, connection: _Connection, head: Head) -> None:
        if connection.waits:
            self._reply(
                connection, 400, _error("InvalidRequest", "a request before the answer to the last"), close=True
            )
            self.closed(connection.number)
            return
        connection.request, connection.body = head, []
        connection.refusal = self._refusal(head)
        if connection.refusal is None and head.method == "POST" and head.path != _INIT_ERROR:
            self._answering = connection
            mode = head.headers.get("lambda-runtime-function-response-mode", "")
            self._streaming = mode.lower() == "streaming" and head.path.endswith("/response")
            if self._streaming:
                self.events.append(AnswerBegun(head.headers.get("content-type", "")))
        if head.headers.get("expect", "").lower() == "100-continue":
            self.to_send.append(ToSend(connection.number, b"HTTP/1.1 100 Continue\r\n\r\n", False))

    def _refusal(self, head: Head) -> tuple[int, str, str] | None:
        """Why a request cannot be served: status, errorType, errorMessage."""
        if (head.method, head.path) == ("GET", _NEXT):
            if self._in_hand is not None:
                return 403, "InvalidStateTransition", f"invocation {self._in_hand} is in hand and not answered"
            return None
        if (head.method, head.path) == ("POST", _INIT_ERROR):
            if self._started:
                return 403, "InvalidStateTransition", "the runtime has started: an invocation's error is its own"
            return None
        step = head.path.removeprefix(f"{PREFIX}invocation/").split("/") if head.path.startswith(PREFIX) else []
        if head.method != "POST" or len(step) != 2 or step[1] not in ("response", "error"):
            what = (
                f"{head.method} {head.path}: served are {PREFIX}invocation/next, …/ID/response, …/ID/error, init/error"
            )
            return 404, "NotFound", what
        if step[0] == self._answered or (step[0] == self._in_hand and self._answering is not None):
            return 403, "InvalidStateTransition", f"invocation {step[0]} is answered already"
        if step[0] != self._in_hand:
            return 400, "InvalidRequestID", "Invalid request ID"
        return None

    def _take(self, connection: _Connection, part: bytes) -> None:
        if connection.refusal is not None:
            return
        if connection is self._answering and self._streaming:
            self.events.append(AnswerPart(part))
        else:
            connection.body.append(part)

    def _complete(self, connection: _Connection, trailers: Mapping[str, str]) -> None:
        head = connection.request
        assert head is not None  # no body without a head
        body = b"".join(connection.body)
        connection.body = []
        if connection.refusal is not None:
            status, kind, message = connection.refusal
            self._reply(connection, status, _error(kind, message))
        elif head.path == _NEXT:
            self._asked(connection)
        elif head.path == _INIT_ERROR:
            self.events.append(InitFailed(_fault(body, head.headers.get(_ERROR_TYPE))))
            self._reply(connection, 202, _ACCEPTED)
        else:
            if head.path.endswith("/error"):
                self._end(Failed(_fault(body, head.headers.get(_ERROR_TYPE))))
            elif self._streaming:
                self._end(AnswerEnded(_fault_of_trailers(trailers)))
            else:
                self._end(Answered(body))
            self._reply(connection, 202, _ACCEPTED)

    def _asked(self, connection: _Connection) -> None:
        if not self._started:
            self._started = True
            self.events.append(Started())
        if self._offered is not None:
            invocation, self._offered = self._offered, None
            self._give(connection, invocation)
        else:
            connection.waits = True
            self._waiting.append(connection)

    def _give(self, connection: _Connection, invocation: Invocation) -> None:
        connection.waits = False
        self._in_hand, self._answered = invocation.id, None
        headers = {"Lambda-Runtime-Aws-Request-Id": invocation.id, **invocation.headers}
        self._reply(connection, 200, invocation.event, headers)

    def _end(self, event: Event) -> None:
        """The invocation in hand is over."""
        self.events.append(event)
        self._answered, self._in_hand = self._in_hand, None
        self._answering, self._streaming = None, False

    def _reply(
        self,
        connection: _Connection,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        close: bool = False,
    ) -> None:
        head = connection.request
        close = close or head is None or not head.keep_alive
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
            *(["Connection: close"] if close else []),
        ]
        content = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
        self.to_send.append(ToSend(connection.number, content, close))
        connection.request = None


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()


def _fault(body: bytes, kind: str | None) -> Fault:
    """What the body of an error says, which need not be in Lambda's form; `kind` is the header's word for it."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return Fault(kind or "Unknown", body.decode("utf-8", "replace"))
    trace = said.get("stackTrace", said.get("trace"))  # AWS's runtimes for Python and for Node
    lines = tuple(str(line) for line in trace) if isinstance(trace, list) else ()
    return Fault(str(said.get("errorType") or kind or "Unknown"), str(said.get("errorMessage", "")), lines)


def _fault_of_trailers(trailers: Mapping[str, str]) -> Fault | None:
    """What a streamed answer's trailers say of an error within it. Its body is JSON in base64."""
    kind, body = trailers.get(_ERROR_TYPE), trailers.get(_ERROR_BODY)
    if kind is None and body is None:
        return None
    try:
        return _fault(base64.b64decode(body or ""), kind)
    except ValueError:
        return Fault(kind or "Unknown", body or "")
