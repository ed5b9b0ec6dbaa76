"""The rules of RFC 9113 that a server's side of a connection has to keep."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from softswitch.rpc.hpack import encode
from softswitch.rpc.http2 import (
    CONNECTION_WINDOW,
    MAX_STREAMS,
    PREFACE,
    STREAM_WINDOW,
    ConnectionFailed,
    DataReceived,
    ErrorCode,
    Event,
    RequestStarted,
    ServerConnection,
    StreamReset,
)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
REQUEST = ((b":method", b"POST"), (b":path", b"/x"))
BLOCK = encode(REQUEST)


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def connected() -> ServerConnection:
    connection = ServerConnection()
    connection.receive(PREFACE + frame(SETTINGS))
    assert [kind for kind, *_ in frames(connection.take())] == [SETTINGS, WINDOW_UPDATE, SETTINGS]
    return connection


def with_stream(stream: int = 1) -> ServerConnection:
    connection = connected()
    assert connection.receive(frame(HEADERS, 4, stream, BLOCK)) == [RequestStarted(stream, REQUEST, ended=False)]
    return connection


def test_request_comes_as_events() -> None:
    connection = connected()
    padded = frame(HEADERS, 0x4 | 0x8 | 0x20, 1, b"\x03" + b"\0\0\0\0\x10" + BLOCK + b"\0\0\0")
    body = frame(DATA, 0x8, 1, b"\x02ab\0\0") + frame(DATA, 1, 1, b"c")
    assert connection.receive(padded + body) == [
        RequestStarted(1, REQUEST, ended=False),
        DataReceived(1, b"ab", ended=False),
        DataReceived(1, b"c", ended=True),
    ]


def test_header_block_in_pieces() -> None:
    connection = connected()
    pieces = (
        frame(HEADERS, 1, 1, BLOCK[:5]) + frame(CONTINUATION, 0, 1, BLOCK[5:9]) + frame(CONTINUATION, 4, 1, BLOCK[9:])
    )
    assert connection.receive(pieces) == [RequestStarted(1, REQUEST, ended=True)]


@given(st.lists(st.integers(1, 400), max_size=30))
def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    whole = (
        PREFACE
        + frame(SETTINGS)
        + frame(HEADERS, 4, 1, BLOCK)
        + frame(DATA, 1, 1, b"x" * 300)
        + frame(PING, 0, 0, b"8" * 8)
    )
    connection = ServerConnection()
    events: list[Event] = []
    for cut in [*cuts, len(whole)]:
        events += connection.receive(whole[:cut])
        whole = whole[cut:]
    assert events == [RequestStarted(1, REQUEST, ended=False), DataReceived(1, b"x" * 300, ended=True)]


def test_pings_are_answered_and_unknown_frames_ignored() -> None:
    connection = connected()
    connection.receive(frame(0xAB, 0, 5, b"?") + frame(PING, 0, 0, b"12345678") + frame(PING, 1, 0, b"12345678"))
    assert frames(connection.take()) == [(PING, 1, 0, b"12345678")]


def test_response_keeps_to_both_windows() -> None:
    connection = connected()
    connection.receive(
        frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 100)) + frame(HEADERS, 5, 1, BLOCK) + frame(HEADERS, 5, 3, BLOCK)
    )
    connection.take()
    for stream in (1, 3):
        connection.send_data(stream, b"x" * 150)
        connection.end(stream, b"")
    assert [(kind, stream, len(body)) for kind, _, stream, body in frames(connection.take())] == [
        (DATA, 1, 100),
        (DATA, 3, 100),
    ]
    assert connection.waiting(1) == 50
    connection.receive(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 30)))
    assert [len(body) for *_, body in frames(connection.take())] == [30]
    # A larger initial window widens streams that are open, too.
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1000)))
    sent = frames(connection.take())
    assert [(kind, flags & 1, stream, len(body)) for kind, flags, stream, body in sent] == [
        (SETTINGS, 1, 0, 0),
        (DATA, 0, 1, 20),
        (HEADERS, 1, 1, 0),
        (DATA, 0, 3, 50),
        (HEADERS, 1, 3, 0),
    ]


def test_the_connection_has_a_window_too() -> None:
    connection = connected()
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)) + frame(HEADERS, 5, 1, BLOCK))
    connection.take()
    connection.send_data(1, b"x" * 70_000)
    assert sum(len(body) for *_, body in frames(connection.take())) == 65_535
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)))
    assert sum(len(body) for *_, body in frames(connection.take())) == 70_000 - 65_535


def test_what_was_received_opens_the_window_again() -> None:
    connection = with_stream()
    for _ in range(CONNECTION_WINDOW // (1 << 14) + 1):
        connection.receive(frame(DATA, 0, 1, b"x" * (1 << 14)))
    opened = [
        (stream, int.from_bytes(body, "big"))
        for kind, _, stream, body in frames(connection.take())
        if kind == WINDOW_UPDATE
    ]
    assert sum(by for stream, by in opened if stream == 0) > CONNECTION_WINDOW // 2
    assert sum(by for stream, by in opened if stream == 1) > CONNECTION_WINDOW - STREAM_WINDOW


def test_a_paused_stream_takes_one_window_until_it_is_resumed() -> None:
    connection = with_stream()
    connection.pause(1)
    connection.receive(frame(DATA, 0, 1, bytes(1 << 14)) * (STREAM_WINDOW >> 14))
    assert not [stream for kind, _, stream, _ in frames(connection.take()) if (kind, stream) == (WINDOW_UPDATE, 1)]
    connection.resume(1)
    assert frames(connection.take()) == [(WINDOW_UPDATE, 0, 1, struct.pack(">I", STREAM_WINDOW))]
    connection.pause(1)
    connection.receive(frame(DATA, 0, 1, bytes(1 << 14)) * (STREAM_WINDOW >> 14))
    with pytest.raises(ConnectionFailed) as beyond:
        connection.receive(frame(DATA, 0, 1, b"x"))
    assert beyond.value.code is ErrorCode.FLOW_CONTROL_ERROR


def test_early_end_tells_the_client_to_stop() -> None:
    connection = with_stream()
    connection.end(1, b"trailers")
    assert frames(connection.take()) == [(HEADERS, 5, 1, b"trailers"), (RST_STREAM, 0, 1, bytes(4))]
    assert connection.receive(frame(DATA, 1, 1, b"late") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")) == []


def test_large_trailers_are_continued() -> None:
    connection = connected()
    connection.receive(frame(HEADERS, 5, 1, BLOCK))
    connection.end(1, b"t" * 40_000)
    sent = frames(connection.take())
    assert [(kind, flags) for kind, flags, *_ in sent] == [(HEADERS, 1), (CONTINUATION, 0), (CONTINUATION, 4)]
    assert b"".join(body for *_, body in sent) == b"t" * 40_000


def test_streams_that_were_reset_are_forgotten() -> None:
    connection = with_stream()
    assert connection.receive(frame(RST_STREAM, 0, 1, bytes(4))) == [StreamReset(1)]
    connection.send_data(1, b"x")
    connection.end(1, b"")
    assert connection.take() == b""


def test_too_many_streams_and_streams_after_goodbye_are_refused() -> None:
    connection = connected()
    many = b"".join(frame(HEADERS, 4, 1 + 2 * number, BLOCK) for number in range(MAX_STREAMS + 1))
    assert len(connection.receive(many)) == MAX_STREAMS
    refused = struct.pack(">I", ErrorCode.REFUSED_STREAM)
    assert frames(connection.take()) == [(RST_STREAM, 0, 1 + 2 * MAX_STREAMS, refused)]
    connection.go_away()
    assert connection.receive(frame(HEADERS, 4, 99_999, BLOCK)) == []
    assert frames(connection.take())[-1] == (RST_STREAM, 0, 99_999, refused)


BROKEN = {
    "no HTTP/2": (b"GET / HTTP/1.1\r\n\r\n", ErrorCode.PROTOCOL_ERROR),
    "frame too long": (frame(DATA, 0, 1, b"x" * 16_385), ErrorCode.FRAME_SIZE_ERROR),
    "data of no stream": (frame(DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "even stream": (frame(HEADERS, 4, 2, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "stream 0": (frame(HEADERS, 4, 0, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "headers again": (frame(HEADERS, 4, 1, BLOCK) * 2, ErrorCode.PROTOCOL_ERROR),
    "bad block": (frame(HEADERS, 4, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "continuation of nothing": (frame(CONTINUATION, 4, 1, BLOCK), ErrorCode.PROTOCOL_ERROR),
    "no continuation": (frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "endless block": (frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, b"x" * 16_000) * 5, ErrorCode.ENHANCE_YOUR_CALM),
    "data after the end": (frame(HEADERS, 5, 1, BLOCK) + frame(DATA, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
    "push": (frame(PUSH, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "short ping": (frame(PING, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    "padding": (frame(HEADERS, 0xC, 1, b"\xff" + BLOCK), ErrorCode.PROTOCOL_ERROR),
    "settings cut off": (frame(SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
    "window too large": (frame(SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
    "tiny frames": (frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
    "window by nothing": (frame(WINDOW_UPDATE, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "window overflows": (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
    "window overflows by settings": (
        frame(HEADERS, 4, 1, BLOCK)
        + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", (1 << 31) - 1 - 65_535))
        + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_536)),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "settings of a stream": (frame(SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "ping of a stream": (frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "reset of nothing": (frame(RST_STREAM, 0, 7, bytes(4)), ErrorCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_connections_are_ended(what: str) -> None:
    data, code = BROKEN[what]
    connection = ServerConnection() if what == "no HTTP/2" else connected()
    with pytest.raises(ConnectionFailed) as caught:
        connection.receive(data)
    assert caught.value.code is code


@st.composite
def frame_like(draw: st.DrawFn) -> bytes:
    """A frame of any type, flags and small stream number, with any body or a header block."""
    body = draw(st.one_of(st.binary(max_size=30), st.just(BLOCK)))
    return frame(draw(st.integers(0, 11)), draw(st.integers(0, 255)), draw(st.integers(0, 9)), body)


@given(st.lists(st.one_of(frame_like(), st.binary(max_size=12)), max_size=12))
def test_any_frames_are_events_or_an_error(parts: list[bytes]) -> None:
    connection = connected()
    try:
        for part in parts:
            for event in connection.receive(part):
                if isinstance(event, RequestStarted):
                    connection.send_data(event.stream, b"answer")
                    connection.end(event.stream, b"")
    except ConnectionFailed:
        pass
    connection.take()
