"""Frames between gateway and worker, however the stream is cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import (
    MAX_FRAME,
    VERSION,
    Body,
    Cancel,
    Configure,
    End,
    Frame,
    Hello,
    HttpHead,
    Invoked,
    Ready,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
    WorkerProtocolError,
    Workers,
)

u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
lines = st.text(max_size=20).filter(lambda text: "\n" not in text)
texts = st.text(max_size=20)
data = st.binary(max_size=300)
headers = st.dictionaries(lines, lines, max_size=3)
fields = st.dictionaries(lines | st.just("cookie"), st.lists(lines, min_size=1, max_size=3), max_size=3)
cookies = st.lists(lines, min_size=1, max_size=3).map("\n".join)
answered = st.builds(lambda some, cookie: some | {"set-cookie": cookie}, headers, cookies) | headers


def head(method: str, path: str, query: str, sent: dict[str, list[str]], source: str) -> HttpHead:
    """A head with fields of which some stand several times."""
    joined = {name: ("; " if name == "cookie" else ",").join(values) for name, values in sent.items()}
    repeated = {name: values for name, values in sent.items() if len(values) > 1}
    return HttpHead(method, path, query, joined, source, repeated)


frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, u32, texts, u32, st.sampled_from(["worker", "supervisor"]), st.just(VERSION)),
    st.builds(
        Request,
        u64,
        u32,
        u64,
        u64,
        u32,
        st.none() | data,
        st.none() | st.builds(head, *[lines] * 3, fields, lines),
        st.none(),
    ),
    st.builds(Request, u64, u32, u64, u64, u32, data, st.none(), st.builds(Invoked, *[lines] * 4)),
    st.builds(Body, u64, st.booleans(), data),
    st.builds(Cancel, u64),
    st.builds(Response, u64, u16, u64, u64, data, answered),
    st.builds(ResponseHead, u64, u16, u64, answered),
    st.builds(ResponseBody, u64, data),
    st.builds(ResponseEnd, u64, u64, texts),
    st.builds(Configure, st.dictionaries(texts, st.integers() | texts | st.none(), max_size=4)),
    st.builds(Workers, u32),
    st.builds(End, u32),
    st.just(Ready()),
    st.just(Shutdown()),
)


@given(st.lists(frames, max_size=6), st.integers(1, 50))
def test_round_trip_in_pieces(sent: list[Frame], piece: int) -> None:
    stream = b"".join(map(encode, sent))
    decoder = Decoder()
    received = [
        frame for start in range(0, len(stream), piece) for frame in decoder.feed(stream[start : start + piece])
    ]
    assert [(type(frame), frame) for frame in received] == [(type(frame), frame) for frame in sent]


def test_many_frames_at_once() -> None:
    request = Request(1, 2, 3, 4, 5, bytes(20000))
    assert Decoder().feed(encode(request) * 20) == [request] * 20


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (struct.pack("!IB", 0, 99), "unknown type 99"),
        (struct.pack("!IB", MAX_FRAME + 1, 2), "expected at most"),
        (struct.pack("!IB", 3, 2) + b"abc", "malformed request"),
        (struct.pack("!IB", 2, 1) + b"{}", "malformed hello"),
        (struct.pack("!IB", 2, 4) + b"[]", "not a JSON object"),
        (struct.pack("!IB", 1, 4) + b"{", "malformed configure"),
        (encode(Hello(1, "m.f", version=9)), "version 9, expected 5"),
        (struct.pack("!IBQHQQI", 30, 3, 1, 200, 0, 0, 5), "head of 5 bytes, holds 0"),
        (struct.pack("!IBQHQQI", 31, 3, 1, 200, 0, 0, 1) + b"a", "without a value"),
        (struct.pack("!IB", 3, 11) + b"abc", "malformed cancel"),
    ],
)
def test_malformed(stream: bytes, complaint: str) -> None:
    with pytest.raises(WorkerProtocolError, match=complaint):
        Decoder().feed(stream)


def test_a_frame_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(WorkerProtocolError, match="expected at most"):
        encode(Response(1, 200, 0, 0, bytes(MAX_FRAME)))


@pytest.mark.parametrize(
    "frame", [Response(1, 200, 0, 0, b"", {"a": "b\nset-cookie"}), Request(1, 2, 3, 4, 5, b"", HttpHead("GET", "/\n"))]
)
def test_a_line_feed_does_not_become_another_header(frame: Frame) -> None:
    with pytest.raises(WorkerProtocolError, match="line feed"):
        encode(frame)


def test_octets_of_a_header_that_are_not_utf_8_come_through() -> None:
    request = Request(
        1, 2, 3, 4, 5, b"", HttpHead("GET", "/", headers={"a": b"\xe9".decode("utf-8", "surrogateescape")})
    )
    assert Decoder().feed(encode(request)) == [request]
