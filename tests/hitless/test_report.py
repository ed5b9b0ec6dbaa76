"""The report codec: what goes in comes out, and nothing else is taken."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.report import (
    BITS,
    SIZE,
    TAGGED,
    Key,
    Report,
    ReportError,
    decode,
    siphash,
    tag_of,
    tagged,
)

reports = st.builds(
    Report, **{name: st.booleans() if bits == 1 else st.integers(0, (1 << bits) - 1) for name, bits in BITS.items()}
)
PLAIN = Report(service_id=1, node_id=2, epoch=3, sequence=4, ready=True)


@given(reports)
def test_round_trip(report: Report) -> None:
    encoded = report.encode()
    assert len(encoded) == SIZE == 52
    assert decode(encoded) == report


@pytest.mark.parametrize("size", [0, 51, 53, 1500])
def test_wrong_length(size: int) -> None:
    with pytest.raises(ReportError, match=f"{size} bytes long, expected 52"):
        decode(bytes(size))


@pytest.mark.parametrize(
    ("offset", "value", "complaint"),
    [
        (0, 0x47, "magic"),
        (1, 0x55, "magic"),
        (2, 2, "version"),
        (3, 0x05, "flags"),
        (3, 0x80, "flags"),
        (43, 1, "reserved"),
    ],
)
def test_malformed(offset: int, value: int, complaint: str) -> None:
    encoded = bytearray(PLAIN.encode())
    encoded[offset] = value
    with pytest.raises(ReportError, match=complaint):
        decode(encoded)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", 1 << 16), ("queue_depth", -1), ("backlog", 1 << 32), ("key_id", 256), ("tag", 1 << 64), ("node_id", 1.5)],
)
def test_a_value_that_does_not_fit_is_named(field: str, value: object) -> None:
    with pytest.raises(ReportError, match=rf"field {field} is {value}, expected an integer of 0 to"):
        replace(PLAIN, **{field: value}).encode()  # type: ignore[arg-type]


def test_the_hash_is_the_papers() -> None:
    """Appendix A of the paper: key 00..0f, message 00..0e."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@given(reports, st.integers(1, 255), st.binary(min_size=16, max_size=16))
def test_a_tagged_report_is_the_report_with_its_tag(report: Report, key_id: int, secret: bytes) -> None:
    payload = tagged(report, Key(key_id, secret))
    assert decode(payload) == replace(report, key_id=key_id, tag=tag_of(payload, secret))


@given(st.integers(0, 8 * TAGGED - 1))
def test_every_bit_before_the_tag_changes_it(bit: int) -> None:
    payload = bytearray(tagged(PLAIN, Key(1, b"k" * 16)))
    before = tag_of(bytes(payload), b"k" * 16)
    payload[bit // 8] ^= 1 << bit % 8
    assert tag_of(bytes(payload), b"k" * 16) != before


@pytest.mark.parametrize(("number", "secret"), [(0, bytes(16)), (256, bytes(16)), (1, bytes(15))])
def test_what_is_no_key(number: int, secret: bytes) -> None:
    with pytest.raises(ReportError, match="expected a key of 16 bytes"):
        Key(number, secret)


def test_a_key_does_not_show_its_secret() -> None:
    assert repr(Key(3, b"secretsecretsecr")) == "Key(3)"
