"""Frames between gateway and worker, however the stream is cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.worker_frames import (
    MAX_FRAME,
    Configure,
    Decoder,
    Frame,
    Hello,
    HttpHead,
    Request,
    Response,
    Shutdown,
    WorkerProtocolError,
    encode,
)

u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
texts = st.text(max_size=20)
headers = st.dictionaries(texts, texts, max_size=3)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, u32, texts),
    st.builds(
        Request,
        u64,
        u32,
        u64,
        u64,
        u32,
        st.binary(max_size=300),
        st.none() | st.builds(HttpHead, texts, texts, texts, headers, texts),
    ),
    st.builds(Response, u64, u16, u64, u64, st.binary(max_size=300), headers),
    st.builds(Configure, st.dictionaries(texts, st.integers() | texts | st.none(), max_size=4)),
    st.just(Shutdown()),
)


@given(st.lists(frames, max_size=6), st.integers(1, 50))
def test_round_trip_in_pieces(sent: list[Frame], piece: int) -> None:
    stream = b"".join(map(encode, sent))
    decoder = Decoder()
    received = [
        frame for start in range(0, len(stream), piece) for frame in decoder.feed(stream[start : start + piece])
    ]
    assert received == sent


def test_many_frames_at_once() -> None:
    request = Request(1, 2, 3, 4, 5, bytes(20000))
    assert Decoder().feed(encode(request) * 20) == [request] * 20


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (struct.pack("!IB", 0, 9), "unknown type 9"),
        (struct.pack("!IB", MAX_FRAME + 1, 2), "expected at most"),
        (struct.pack("!IB", 3, 2) + b"abc", "malformed request"),
        (struct.pack("!IB", 2, 1) + b"{}", "malformed hello"),
        (struct.pack("!IB", 2, 4) + b"[]", "not a JSON object"),
        (struct.pack("!IB", 1, 4) + b"{", "malformed configure"),
        (encode(Hello(1, "m.f", version=9)), "version 9, expected 1"),
        (struct.pack("!IBQHQQI", 30, 3, 1, 200, 0, 0, 5), "head of 5 bytes, holds 0"),
    ],
)
def test_malformed(stream: bytes, complaint: str) -> None:
    with pytest.raises(WorkerProtocolError, match=complaint):
        Decoder().feed(stream)


def test_a_frame_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(WorkerProtocolError, match="expected at most"):
        encode(Response(1, 200, 0, 0, bytes(MAX_FRAME)))
