"""Byte strings, packet headers, P4Data and device configs as they are on the wire."""

from __future__ import annotations

import pytest
from finsy.proto import p4d, p4r, p4t
from hypothesis import given
from hypothesis import strategies as st
from softswitch.p4runtime import bytestrings, data
from softswitch.p4runtime.config import program_text
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.packets import decode_packet_in, encode_packet_out
from softswitch.p4runtime.schema import Field

# The specification's tables "Examples of Valid / Invalid Bytestring Encoding".
VALID_UNSIGNED = [
    (8, b"\x63", 99),
    (16, b"\x00\x63", 99),
    (16, b"\x63", 99),
    (16, b"\x30\x64", 12388),
    (16, b"\x00\x30\x64", 12388),
    (12, b"\x00\x63", 99),
    (12, b"\x00\x00\x63", 99),
]
INVALID_UNSIGNED = [
    (8, b"\x01\x63"),
    (8, b""),
    (16, b"\x01\x00\x63"),
    (12, b"\x10\x63"),
    (12, b"\x01\x00\x63"),
    (12, b"\x00\x40\x63"),
]
VALID_SIGNED = [(8, b"\x63", 99), (8, b"\x9d", -99), (8, b"\xff\x9d", -99), (12, b"\xfd\x1d", -739), (16, b"\0\0", 0)]
INVALID_SIGNED = [(8, b"\x00\x9d"), (12, b"\x8d\x1d"), (16, b"")]


@pytest.mark.parametrize(("width", "string", "number"), VALID_UNSIGNED)
def test_valid_unsigned(width: int, string: bytes, number: int) -> None:
    assert bytestrings.decode(string, width) == number


@pytest.mark.parametrize(("width", "string"), INVALID_UNSIGNED)
def test_invalid_unsigned(width: int, string: bytes) -> None:
    with pytest.raises(ValueError, match=r"fit|empty"):
        bytestrings.decode(string, width)


@pytest.mark.parametrize(("width", "string", "number"), VALID_SIGNED)
def test_valid_signed(width: int, string: bytes, number: int) -> None:
    assert bytestrings.decode_signed(string, width) == number


@pytest.mark.parametrize(("width", "string"), INVALID_SIGNED)
def test_invalid_signed(width: int, string: bytes) -> None:
    with pytest.raises(ValueError, match=r"fit|empty"):
        bytestrings.decode_signed(string, width)


@given(st.integers(min_value=0, max_value=1 << 200))
def test_unsigned_is_written_shortest(number: int) -> None:
    string = bytestrings.encode(number)
    assert int.from_bytes(string, "big") == number
    assert len(string) == 1 or string[0] != 0


@given(st.integers(min_value=-(1 << 100), max_value=1 << 100))
def test_signed_is_written_shortest(number: int) -> None:
    string = bytestrings.encode_signed(number)
    assert int.from_bytes(string, "big", signed=True) == number
    if len(string) > 1:
        shorter = int.from_bytes(string[1:], "big", signed=True)
        assert shorter != number


HEADER = (Field(1, "port", 9), Field(2, "flags", 3), Field(3, "wide", 70))


@given(st.integers(0, 511), st.integers(0, 7), st.integers(0, (1 << 70) - 1), st.binary(max_size=8))
def test_packet_headers_round_trip(port: int, flags: int, wide: int, payload: bytes) -> None:
    message = p4r.PacketOut(payload=payload)
    for identifier, value in ((3, wide), (1, port), (2, flags)):
        message.metadata.add(metadata_id=identifier, value=bytestrings.encode(value))
    packet = encode_packet_out(HEADER, message)
    # 82 bits, padded at the end to 11 bytes.
    assert packet[:11] == ((port << 73 | flags << 70 | wide) << 6).to_bytes(11, "big")
    back = decode_packet_in(HEADER, packet)
    assert back.payload == payload
    assert [int.from_bytes(m.value, "big") for m in back.metadata] == [port, flags, wide]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([(1, b"\x01"), (2, b"\x01")], "'wide' .* missing"),
        ([(1, b"\x02\x00"), (2, b"\x01"), (3, b"\x01")], "'port': 0200 does not fit"),
        ([(1, b"\x01"), (1, b"\x01"), (2, b"\x01"), (3, b"\x01")], "twice"),
        ([(1, b"\x01"), (2, b"\x01"), (3, b"\x01"), (7, b"\x01")], "no metadata with id 7"),
    ],
)
def test_packet_out_metadata_must_be_complete(metadata: list[tuple[int, bytes]], message: str) -> None:
    packet = p4r.PacketOut()
    for identifier, value in metadata:
        packet.metadata.add(metadata_id=identifier, value=value)
    with pytest.raises(ValueError, match=message):
        encode_packet_out(HEADER, packet)


def test_short_packet_in_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than its header of 11"):
        decode_packet_in(HEADER, b"\0" * 10)


def test_p4data_of_a_nested_struct() -> None:
    def bits(width: int) -> p4t.P4DataTypeSpec:
        return p4t.P4DataTypeSpec(bitstring=p4t.P4BitstringLikeTypeSpec(bit=p4t.P4BitTypeSpec(bitwidth=width)))

    signed = p4t.P4DataTypeSpec(bitstring=p4t.P4BitstringLikeTypeSpec(int=p4t.P4IntTypeSpec(bitwidth=8)))
    types = p4t.P4TypeInfo()
    types.structs["inner"].members.add(name="a", type_spec=bits(9))
    types.structs["inner"].members.add(name="b", type_spec=signed)
    types.serializable_enums["colour"].underlying_type.bitwidth = 4
    types.new_types["port"].original_type.CopyFrom(bits(9))
    outer = types.structs["outer"].members
    outer.add(name="x", type_spec=p4t.P4DataTypeSpec(struct=p4t.P4NamedType(name="inner")))
    outer.add(name="y", type_spec=p4t.P4DataTypeSpec(bool=p4t.P4BoolType()))
    outer.add(name="z", type_spec=p4t.P4DataTypeSpec(serializable_enum=p4t.P4NamedType(name="colour")))
    outer.add(name="p", type_spec=p4t.P4DataTypeSpec(new_type=p4t.P4NamedType(name="port")))
    kind = data.data_type(p4t.P4DataTypeSpec(struct=p4t.P4NamedType(name="outer")), types)

    assert kind.widths == (9, 8, 1, 4, 9)
    message = data.encode(kind, (300, 0xFE, 1, 6, 2))
    inner = p4d.P4StructLike(members=[p4d.P4Data(bitstring=b"\x01\x2c"), p4d.P4Data(bitstring=b"\xfe")])
    assert message == p4d.P4Data(
        struct=p4d.P4StructLike(
            members=[
                p4d.P4Data(struct=inner),
                p4d.P4Data(bool=True),
                p4d.P4Data(enum_value=b"\x06"),
                p4d.P4Data(bitstring=b"\x02"),
            ]
        )
    )
    assert data.decode(kind, message) == [300, 0xFE, 1, 6, 2]
    with pytest.raises(ValueError, match="data is bitstring, expected struct"):
        data.decode(kind, p4d.P4Data(bitstring=b"\x01"))


def test_program_text_plain_and_wrapped() -> None:
    assert program_text(b' {"a": 1}') == ' {"a": 1}'
    # p4.tmp.P4DeviceConfig {reassign: true, device_data: '{}' repeated to need a two-byte length}
    content = b"{" + b" " * 200 + b"}"
    assert program_text(b"\x08\x01\x1a\xca\x01" + content) == content.decode()


@pytest.mark.parametrize("junk", [b"\xff\xff\xff\xff", b"\x1a\xff", b"hello", b"\x08\x01"])
def test_junk_is_no_program(junk: bytes) -> None:
    with pytest.raises(P4RuntimeError, match="BMv2 JSON"):
        program_text(junk)
