"""The server's side of one connection of Greengrass's interprocess communication, without I/O.

Source: the event-stream RPC protocol as awslabs/aws-c-event-stream (`event_stream_rpc_server.c`) and the server of the
AWS IoT Device SDK for Java speak it. The client's first message is Connect with the protocol's version and a token, and
the answer says whether it may go on. Each operation has a stream of its own: the client counts streams from 1 and names
the operation in the first message of each, the server answers once with a message or an error, and sends events
afterwards where the operation has any. Either side ends a stream by a flag in its last message.

Bytes go in by `receive`, which says what has happened; what is to be sent comes out of `data_to_send`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final

from greengrass_agent.ipc.frames import Decoder, FrameError, Header, HeaderType, Message, encode
from greengrass_agent.ipc.operation import IpcError, Json

VERSION: Final = "0.1.0"
NAMESPACE: Final = "aws.greengrass#"
MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of the longest message that a client may send, its headers included."""
MAX_CONNECT: Final = 16 * 1024
"""The same for its first message, before anybody knows who it is."""
MAX_STREAMS: Final = 256
"""Operations that a client may have under way at a time, subscriptions among them."""

TYPE: Final = ":message-type"
FLAGS: Final = ":message-flags"
STREAM: Final = ":stream-id"
CONTENT: Final = ":content-type"
OPERATION: Final = "operation"
MODEL: Final = "service-model-type"
JSON: Final = "application/json"


class Kind(IntEnum):
    """What a message is."""

    APPLICATION_MESSAGE = 0
    APPLICATION_ERROR = 1
    PING = 2
    PING_RESPONSE = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class Flag(IntFlag):
    """What a message says beside its content."""

    NONE = 0
    CONNECTION_ACCEPTED = 1
    TERMINATE_STREAM = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """The client wants to connect: `accept` or `refuse` it."""

    token: str


@dataclass(frozen=True, slots=True)
class Requested:
    """An operation is to be done, and answered by `respond` or `fail`."""

    stream: int
    operation: str
    request: Json


@dataclass(frozen=True, slots=True)
class Ended:
    """The client wants nothing more of this stream."""

    stream: int


Event = Asked | Requested | Ended


class _ProtocolError(Exception):
    """What the client did that is not in the protocol."""


class Connection:
    """One connection."""

    def __init__(self) -> None:
        self.closing = False
        """Whether the connection is to be closed once all is sent."""
        self.reason: str | None = None
        """Why it is closing, for people; None while it is not."""
        self._decoder = Decoder(MAX_CONNECT)
        self._asked = False
        self._accepted = False
        self._last_stream = 0
        self._streams: set[int] = set()
        self._out: list[bytes] = []

    def receive(self, data: bytes) -> list[Event]:
        """Take what has come, and say what has happened. Takes no more after the client has broken the protocol."""
        events: list[Event] = []
        self._decoder.feed(data)
        try:
            while not self.closing and (message := self._decoder.next()) is not None:
                events += self._take(message)
        except (FrameError, _ProtocolError) as error:
            self._protocol_error(str(error))
        return events

    def data_to_send(self) -> bytes:
        """What is to be sent now; it is given once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def accept(self) -> None:
        """The client may go on."""
        self._accepted, self._decoder.limit = True, MAX_MESSAGE
        self._send(Kind.CONNECT_ACK, Flag.CONNECTION_ACCEPTED)

    def refuse(self, reason: str) -> None:
        """The client may not connect; the protocol has no words for it, so `reason` is for the log."""
        self._send(Kind.CONNECT_ACK, Flag.NONE)
        self.closing, self.reason = True, reason

    def respond(self, stream: int, shape: str, response: Json, *, last: bool) -> None:
        """Answer a request by this shape; `last` if no event is going to follow. Nothing if the stream has ended."""
        self._answer(stream, Kind.APPLICATION_MESSAGE, shape, response, last=last)

    def event(self, stream: int, shape: str, event: Json) -> None:
        """Tell of an event on a stream that has been answered. Nothing if the stream has ended."""
        self._answer(stream, Kind.APPLICATION_MESSAGE, shape, event, last=False)

    def fail(self, stream: int, error: IpcError) -> None:
        """Answer a request by an error, which ends its stream. Nothing if the stream has ended."""
        fields = {**error.fields, "message": error.message}
        self._answer(stream, Kind.APPLICATION_ERROR, NAMESPACE + error.code, fields, last=True)

    def _take(self, message: Message) -> list[Event]:
        kind, stream = _number(message, TYPE), _number(message, STREAM)
        flags = Flag(_number(message, FLAGS) & Flag.TERMINATE_STREAM)
        if not self._accepted and kind != Kind.CONNECT:
            raise _ProtocolError("expected a Connect message, and its answer, before any other")
        if stream == 0:
            return self._take_protocol(kind, message)
        if kind not in (Kind.APPLICATION_MESSAGE, Kind.APPLICATION_ERROR):
            raise _ProtocolError(f"stream {stream} has a message of type {kind}: expected application messages")
        if 0 < stream <= self._last_stream:
            return self._take_known(stream, flags, message)
        if stream != self._last_stream + 1:
            raise _ProtocolError(f"stream {stream}: expected the next one, {self._last_stream + 1}")
        return self._take_new(stream, flags, message)

    def _take_protocol(self, kind: int, message: Message) -> list[Event]:
        match kind:
            case Kind.CONNECT:
                if self._asked:
                    raise _ProtocolError("expected one Connect message")
                self._asked = True
                return self._take_connect(message)
            case Kind.PING:
                own = [header for header in message.headers if not header.name.startswith(":")]
                self._send(Kind.PING_RESPONSE, Flag.NONE, payload=message.payload, headers=own)
            case Kind.PING_RESPONSE:
                pass
            case Kind.PROTOCOL_ERROR | Kind.INTERNAL_ERROR:
                self.closing, self.reason = True, f"the client says: {message.payload[:200].decode(errors='replace')}"
            case _:
                raise _ProtocolError(f"a message of type {kind} without a stream")
        return []

    def _take_connect(self, message: Message) -> list[Event]:
        version = message.find(":version", HeaderType.STRING)
        if version != VERSION:
            self.refuse(f"speaks version {version!r} of the protocol: expected {VERSION!r}")
            return []
        try:
            token = _object(message.payload).get("authToken")
        except IpcError:
            token = None
        if not isinstance(token, str):
            self.refuse("its Connect message has no authToken")
            return []
        return [Asked(token)]

    def _take_known(self, stream: int, flags: Flag, message: Message) -> list[Event]:
        ends = Flag.TERMINATE_STREAM in flags
        if stream not in self._streams:
            if not ends:  # both sides may end it at the same time
                raise _ProtocolError(f"stream {stream} has ended")
            return []
        if message.payload and not ends:
            self.fail(stream, IpcError("InvalidArgumentsError", "this operation takes one request and nothing more"))
            return [Ended(stream)]
        if not ends:
            return []
        self._streams.discard(stream)
        return [Ended(stream)]

    def _take_new(self, stream: int, flags: Flag, message: Message) -> list[Event]:
        operation = message.find(OPERATION, HeaderType.STRING)
        if not isinstance(operation, str) or not operation:
            raise _ProtocolError(f"stream {stream} begins without the name of an operation")
        self._last_stream = stream
        if Flag.TERMINATE_STREAM in flags:  # nobody would hear the answer
            return []
        full = len(self._streams) >= MAX_STREAMS
        self._streams.add(stream)
        try:
            if full:
                raise IpcError("ServiceError", f"at most {MAX_STREAMS} operations may be under way on a connection")
            return [Requested(stream, operation, _object(message.payload))]
        except IpcError as error:
            self.fail(stream, error)
            return []

    def _answer(self, stream: int, kind: Kind, shape: str, content: Json, *, last: bool) -> None:
        if stream not in self._streams:
            return
        if last:
            self._streams.discard(stream)
        headers = [Header.text(CONTENT, JSON), Header.text(MODEL, shape)]
        flags = Flag.TERMINATE_STREAM if last else Flag.NONE
        self._send(kind, flags, stream, payload=json.dumps(content).encode(), headers=headers)

    def _protocol_error(self, text: str) -> None:
        payload = json.dumps({"message": text}).encode()
        self._send(Kind.PROTOCOL_ERROR, Flag.NONE, payload=payload, headers=[Header.text(CONTENT, JSON)])
        self.closing, self.reason = True, text

    def _send(
        self, kind: Kind, flags: Flag, stream: int = 0, *, payload: bytes = b"", headers: list[Header] | None = None
    ) -> None:
        fixed = (Header.number(TYPE, kind), Header.number(FLAGS, flags), Header.number(STREAM, stream))
        self._out.append(encode(Message((*(headers or ()), *fixed), payload)))


def _number(message: Message, name: str) -> int:
    value = message.find(name, HeaderType.INT32)
    if not isinstance(value, int):
        raise _ProtocolError(f"a message has no {name} of 32 bits")
    return value


def _object(payload: bytes) -> Json:
    """The object that a payload is; an empty one is an empty object. Raises IpcError for anything else."""
    try:
        found: Any = json.loads(payload) if payload else {}
    except (ValueError, RecursionError) as error:
        raise IpcError("InvalidArgumentsError", f"the request is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise IpcError("InvalidArgumentsError", "the request is no JSON object")
    return found
