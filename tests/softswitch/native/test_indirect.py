"""Indirect tables: members that tables share, and groups from which the selector's hash picks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from finsy.proto import p4r
from grpc import StatusCode
from softswitch.bmv2.match import Lpm, Ternary

import softswitch
from tests.softswitch.native.writes import Entry, Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import action, insert, modify
from tests.softswitch.p4runtime.test_action_profiles import Answer, chosen, entry, group, member, question

NAMES = Names.of("indirect")
FIRST, SECOND, SPREADING, SKEWING = 1, 2, 3, 4


@pytest.fixture
def indirect(tmp_path: Path) -> Iterator[softswitch.Switch]:
    """The program `indirect`, whose `skewed` has room for many members."""
    info = Names.of("indirect").p4info
    for profile in info.action_profiles:
        if profile.preamble.alias == "skewed":
            profile.size = 1000
    (tmp_path / "indirect.json").write_bytes(NAMES.device_config)
    (tmp_path / "indirect.txtpb").write_text(str(info))
    with softswitch.load(tmp_path / "indirect.json", tmp_path / "indirect.txtpb") as switch:
        yield switch


def ask(switch: softswitch.Switch, which: int, key: int, salt: int = 0, more: int = 0) -> Answer:
    """Port, value and way of the answer."""
    ((port, data),) = switch.process(1, question(which, key, salt, more))
    return port, int.from_bytes(data[8:10], "big"), data[10]


def masked(table: str, match: Ternary | Lpm, *, member: int = 0, group: int = 0, priority: int = 0) -> p4r.Entity:
    """An entry of one of the tables whose key is not exact."""
    made = Writes(NAMES.p4info).entity(Entry(f"I.{table}", (match,), priority))
    if member:
        made.table_entry.action.action_profile_member_id = member
    else:
        made.table_entry.action.action_profile_group_id = group
    return made


def test_two_tables_share_a_member(indirect: softswitch.Switch) -> None:
    indirect.write([member(NAMES, "shared", 3, "answer", 77), member(NAMES, "shared", 500, "send", 5, 78)])
    indirect.write([entry(NAMES, "first", 1, to_member=3), entry(NAMES, "first", 2, to_member=500)])
    indirect.write([masked("second", Ternary(2, 2), member=500, priority=5)])
    assert ask(indirect, FIRST, 1) == (3, 77, 1)
    assert ask(indirect, FIRST, 2) == (5, 78, 1)
    assert ask(indirect, SECOND, 2) == (5, 78, 3)
    assert ask(indirect, FIRST, 3) == (3, 0, 2)
    indirect.write([modify(member(NAMES, "shared", 500, "answer", 79))])
    assert ask(indirect, FIRST, 2) == (3, 79, 1)
    assert ask(indirect, SECOND, 2) == (3, 79, 3)
    indirect.write([modify(entry(NAMES, "first", 1, to_member=500))])
    assert ask(indirect, FIRST, 1) == (3, 79, 1)
    indirect.write([modify(member(NAMES, "shared", 500, "drop"))])
    assert indirect.process(1, question(SECOND, 2)) == []


def test_the_hash_picks_the_member(indirect: softswitch.Switch) -> None:
    values = {9: 1, 2: 1, 30: 2, 4: 1}
    indirect.write([member(NAMES, "spread", m, "send", m, 100 + m) for m in values])
    indirect.write([group(NAMES, 6, *values.items()), entry(NAMES, "spreading", 1, to_group=6)])
    order = [9, 2, 30, 4, 30]  # by number: a member that weighs more has its other numbers from the group's writing
    rng = random.Random(3)
    for _ in range(200):
        salt, more = rng.getrandbits(16), rng.getrandbits(32)
        (picked,) = chosen([question(SPREADING, 1, salt, more)], order)
        assert ask(indirect, SPREADING, 1, salt, more) == (picked, 100 + picked, 5)
    indirect.write([modify(group(NAMES, 6, (2, 1)))])
    assert {ask(indirect, SPREADING, 1, salt) for salt in range(20)} == {(2, 102, 5)}


def test_an_empty_group_runs_nothing(indirect: softswitch.Switch) -> None:
    spread = entry(NAMES, "spreading", 1, to_group=1)
    indirect.write([group(NAMES, 1), spread])
    indirect.write([group(NAMES, 2, profile="skewed"), masked("skewing", Lpm(0, 0), group=2)])
    assert ask(indirect, SPREADING, 1) == (3, 0, 0)
    wanted = p4r.DirectCounterEntry(table_entry=spread.table_entry)
    (counter,) = indirect.read(p4r.Entity(direct_counter_entry=wanted))
    data = counter.direct_counter_entry.data
    assert (data.packet_count, data.byte_count) == (1, 8), "it was a hit nevertheless"
    assert ask(indirect, SKEWING, 1) == (3, 0, 0)


def test_many_members_and_groups(indirect: softswitch.Switch) -> None:
    """Room grows while it runs; what was there stays."""
    indirect.write([member(NAMES, "skewed", 1 + i, "answer", i) for i in range(1000)])
    indirect.write([group(NAMES, 1 + i, (1 + i, 1), profile="skewed") for i in range(60)])
    indirect.write([masked("skewing", Lpm(i << 2, 6), group=1 + i) for i in range(60)])
    assert [ask(indirect, SKEWING, i << 2) for i in range(60)] == [(3, i, 0) for i in range(60)]


def direct(table: str, **fields: bool) -> p4r.Entity:
    """An entry with an action, which no indirect table takes."""
    made = p4r.TableEntry(table_id=NAMES[table], action=action(NAMES, "drop"), **fields)
    if not made.is_default_action:
        made.match.add(field_id=1).exact.value = b"\1"
    return p4r.Entity(table_entry=made)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: insert(direct("first")), StatusCode.INVALID_ARGUMENT),
        (lambda: modify(direct("first", is_default_action=True)), StatusCode.PERMISSION_DENIED),
        (lambda: insert(member(NAMES, "shared", 1, "answer")), StatusCode.INVALID_ARGUMENT),
        (lambda: insert(member(NAMES, "shared", 1, "answer", 2**16)), StatusCode.INVALID_ARGUMENT),
        (lambda: insert(member(NAMES, "skewed", 1, "drop")), StatusCode.INVALID_ARGUMENT),
        (lambda: insert(member(NAMES, "first", 1, "drop")), StatusCode.INVALID_ARGUMENT),
    ],
    ids=["an action", "a default", "no parameter", "a wide parameter", "an unknown action", "an unknown profile"],
)
def test_what_does_not_fit_the_profile_is_refused(
    indirect: softswitch.Switch, make: Callable[[], p4r.Update], code: StatusCode
) -> None:
    with pytest.raises(softswitch.WriteError) as caught:
        indirect.write([make()])
    (error,) = caught.value.errors
    assert error is not None and error.code is code
