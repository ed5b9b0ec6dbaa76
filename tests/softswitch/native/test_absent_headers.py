"""What is read of a header that is not there is zero, not what an earlier packet had there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import softswitch
from tests.softswitch.native.bmv2 import PROGRAMS

FIELDS = bytes([0, 7, 7, 0, 0]) + bytes(15) + bytes([7])
"""Of a header whose entries are others than those for zero."""
ANSWER = ("exact", "lpm", "ternary", "range", "optional", "wide", "element", "member", "guarded")


@pytest.fixture
def switch() -> Iterator[softswitch.Switch]:
    with softswitch.load(PROGRAMS / "absent.json", PROGRAMS / "absent.p4info.txtpb") as loaded:
        yield loaded


def answered(switch: softswitch.Switch, kind: int, asked: int, body: bytes = b"") -> tuple[dict[str, int], int]:
    """Which entry each table had, and what was read in an expression."""
    [(_, data)] = switch.process(1, bytes([kind, asked]) + body)
    return dict(zip(ANSWER, data, strict=False)), int.from_bytes(data[9:11], "big")


def test_a_key_on_an_absent_header_is_zero_after_a_packet_that_had_one(switch: softswitch.Switch) -> None:
    with_header, _ = answered(switch, 1, 0, FIELDS)
    others = {"ternary": 3, "element": 0, "member": 1}
    assert with_header == dict.fromkeys(ANSWER, 2) | others
    without, _ = answered(switch, 0, 0)
    assert without == dict.fromkeys(ANSWER, 1) | {"element": 0, "guarded": 0}


def test_a_key_on_a_header_that_was_taken_away_is_zero(switch: softswitch.Switch) -> None:
    taken, _ = answered(switch, 1, 1, FIELDS)
    assert taken == dict.fromkeys(ANSWER, 1) | {"element": 0, "guarded": 0}


def test_a_key_on_the_absent_member_of_a_union_is_zero(switch: softswitch.Switch) -> None:
    assert answered(switch, 3, 0, FIELDS)[0]["member"] == 2
    assert answered(switch, 4, 0, b"\7")[0]["member"] == 3
    assert answered(switch, 0, 0)[0]["member"] == 1


def test_expressions_and_digests_have_nothing_of_an_earlier_packet(switch: softswitch.Switch) -> None:
    known, read = answered(switch, 2, 2, FIELDS * 2)
    assert (known["element"], read) == (2, 7)
    known, read = answered(switch, 0, 2)
    assert (known["element"], read) == (1, 0)
    assert [digest.values for digest in switch.digests()] == [(7, 0x070000), (0, 0)]


def test_what_was_written_out_of_a_stacks_range_is_gone_with_the_packet(switch: softswitch.Switch) -> None:
    answered(switch, 9, 3)
    assert answered(switch, 9, 4)[1] == 0
