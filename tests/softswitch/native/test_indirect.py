"""Indirect tables: members that tables share, and groups from which the selector's hash picks."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

import pytest
from softswitch.engine.engine import Engine
from softswitch.entries import (
    ErrorKind,
    Exact,
    GroupOperation,
    Lpm,
    MemberOperation,
    Operation,
    TableOperation,
    Ternary,
)

from tests.softswitch.native.bmv2 import PROGRAMS

FIRST, SECOND, SPREADING, SKEWING = "I.first", "I.second", "I.spreading", "I.skewing"
Answer = tuple[int, int, int]


@pytest.fixture
def indirect(engine: Engine) -> Iterator[Engine]:
    """The program `indirect`."""
    engine.load((PROGRAMS / "indirect.json").read_text())
    yield engine


def ask(engine: Engine, which: int, key: int, salt: int = 0, more: int = 0) -> Answer:
    """Port, value and way of the answer."""
    ((port, data),) = engine.process(1, struct.pack(">BBHI", which, key, salt, more))
    value, how = struct.unpack(">HB", data[8:11])
    return port, value, how


def test_two_tables_share_a_member(indirect: Engine) -> None:
    answers = [
        MemberOperation("I.shared", 3, "I.answer", (77,)),
        MemberOperation("I.shared", 500, "I.send", (5, 78)),
        TableOperation(Operation.INSERT, FIRST, (Exact(1),), member=3),
        TableOperation(Operation.INSERT, FIRST, (Exact(2),), member=500),
        TableOperation(Operation.INSERT, SECOND, (Ternary(2, 2),), 5, member=500),
    ]
    assert indirect.apply(answers) == [None] * 5
    assert ask(indirect, 1, 1) == (3, 77, 1)
    assert ask(indirect, 1, 2) == (5, 78, 1)
    assert ask(indirect, 2, 2) == (5, 78, 3)
    assert ask(indirect, 1, 3) == (3, 0, 2)
    indirect.apply([MemberOperation("I.shared", 500, "I.answer", (79,))])
    assert ask(indirect, 1, 2) == (3, 79, 1)
    assert ask(indirect, 2, 2) == (3, 79, 3)
    indirect.apply([TableOperation(Operation.MODIFY, FIRST, (Exact(1),), member=500)])
    assert ask(indirect, 1, 1) == (3, 79, 1)
    indirect.apply([MemberOperation("I.shared", 500, "I.drop")])
    assert indirect.process(1, struct.pack(">BBHI", 2, 2, 0, 0)) == []


def test_the_hash_picks_the_member(indirect: Engine) -> None:
    members = [9, 2, 30, 30, 4]
    operations = [MemberOperation("I.spread", m, "I.send", (m, 100 + m)) for m in set(members)]
    group = GroupOperation("I.spread", 6, tuple(members))
    entry = TableOperation(Operation.INSERT, SPREADING, (Exact(1),), group=6)
    assert indirect.apply([*operations, group, entry]) == [None] * 6
    rng = random.Random(3)
    for _ in range(200):
        salt, more = rng.getrandbits(16), rng.getrandbits(32)
        chosen = members[zlib.crc32(struct.pack(">HI", salt, more)) % len(members)]
        assert ask(indirect, 3, 1, salt, more) == (chosen, 100 + chosen, 5)
    indirect.apply([GroupOperation("I.spread", 6, (2,))])
    assert {ask(indirect, 3, 1, salt) for salt in range(20)} == {(2, 102, 5)}


def test_an_empty_group_runs_nothing(indirect: Engine) -> None:
    operations = [
        GroupOperation("I.spread", 0),
        TableOperation(Operation.INSERT, SPREADING, (Exact(1),), group=0),
        GroupOperation("I.skewed", 1),
        TableOperation(Operation.INSERT, SKEWING, (Lpm(0, 0),), group=1),
    ]
    assert indirect.apply(operations) == [None] * 4
    assert ask(indirect, 3, 1) == (3, 0, 0)
    assert indirect.read_direct_counters(SPREADING, [((Exact(1),), 0)]) == [(1, 8)], "it was a hit nevertheless"
    assert ask(indirect, 4, 1) == (3, 0, 0)


def test_many_members_and_groups(indirect: Engine) -> None:
    """Room grows while it runs; what was there stays."""
    members = [MemberOperation("I.skewed", i, "I.answer", (i,)) for i in range(1000)]
    groups = [GroupOperation("I.skewed", i, (i,)) for i in range(60)]
    entries = [TableOperation(Operation.INSERT, SKEWING, (Lpm(i << 2, 6),), group=i) for i in range(60)]
    assert not any(indirect.apply([*members, *groups, *entries]))
    assert [ask(indirect, 4, i << 2) for i in range(60)] == [(3, i, 0) for i in range(60)]


@pytest.mark.parametrize(
    "operation",
    [
        TableOperation(Operation.INSERT, FIRST, (Exact(1),), action="I.drop"),
        MemberOperation("I.shared", 0, "I.nowhere"),
        MemberOperation("I.shared", 0, "I.answer"),
        MemberOperation("I.shared", 0, "I.answer", (2**16,)),
        MemberOperation("I.skewed", 0, "I.drop"),
    ],
)
def test_what_does_not_fit_the_profile_is_refused(
    indirect: Engine, operation: TableOperation | MemberOperation
) -> None:
    (error,) = indirect.apply([operation])
    assert error is not None and error.kind is ErrorKind.INVALID_ARGUMENT


def test_the_default_of_an_indirect_table_stays(indirect: Engine) -> None:
    (error,) = indirect.apply([TableOperation(Operation.SET_DEFAULT, FIRST, action="I.drop")])
    assert error is not None and error.kind is ErrorKind.PERMISSION_DENIED


def test_unknown_profiles_are_not_found(indirect: Engine) -> None:
    for operation in (MemberOperation("I.gone", 0, "I.drop"), GroupOperation("I.gone", 0)):
        (error,) = indirect.apply([operation])
        assert error is not None and error.kind is ErrorKind.NOT_FOUND and "I.gone" in error.message
