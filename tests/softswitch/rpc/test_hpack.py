"""Header compression against RFC 7541's own examples (appendix C), and damaged blocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from softswitch.rpc.hpack import Decoder, HpackError, encode

LIMIT = 1 << 16

PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
HUFFMAN = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]


@pytest.mark.parametrize("blocks", [PLAIN, HUFFMAN])
def test_requests_of_the_rfc(blocks: list[str]) -> None:
    decoder = Decoder()
    common = (b":authority", b"www.example.com")
    first = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), common)
    third = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), common)
    assert [decoder.decode(bytes.fromhex(block), LIMIT) for block in blocks] == [
        first,
        (*first, (b"cache-control", b"no-cache")),
        (*third, (b"custom-key", b"custom-value")),
    ]


def test_an_index_means_something_else_once_the_table_changed() -> None:
    decoder = Decoder()
    newest = b"\xbe"
    for value in (b"1", b"2"):
        decoder.decode(b"\x40\x01a\x01" + value, LIMIT)
        assert decoder.decode(newest, LIMIT) == ((b"a", value),)
        assert decoder.decode(newest, LIMIT) == ((b"a", value),)


def test_old_entries_leave_a_full_table() -> None:
    decoder = Decoder()
    for name in (b"a", b"b", b"c"):
        decoder.decode(b"\x40" + encode([(name, b"x" * 2000)])[1:], LIMIT)
    assert decoder.decode(b"\xbf", LIMIT)[0][0] == b"b"
    with pytest.raises(HpackError):
        decoder.decode(b"\xc0", LIMIT)


@pytest.mark.parametrize(
    "block",
    ["80", "bf", "be", "7f", "40", "4001", "400161", "40016105", "ffffffffffffffffff", "3fe21f", "8220", "0081ff81ff"],
)
def test_malformed_blocks_are_refused(block: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(block), LIMIT)


def test_too_many_headers_are_refused() -> None:
    bomb = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 20
    with pytest.raises(HpackError):
        Decoder().decode(bomb, LIMIT)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_are_headers_or_an_error(blocks: list[bytes]) -> None:
    decoder = Decoder()
    for block in blocks:
        try:
            decoder.decode(block, LIMIT)
        except HpackError:
            return


@settings(max_examples=30)
@given(st.lists(st.tuples(st.binary(), st.binary(max_size=300)), max_size=5))
def test_what_is_encoded_is_decoded(headers: list[tuple[bytes, bytes]]) -> None:
    assert Decoder().decode(encode(headers), 1 << 30) == tuple(headers)
