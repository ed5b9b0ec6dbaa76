"""Action profiles and selectors (specification, "ActionProfileMember & ActionProfileGroup"), on each target."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence

import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import BatchError, Names
from tests.softswitch.p4runtime.entities import action, delete, insert, modify, number
from tests.softswitch.p4runtime.targets import Target

FIRST, SPREADING, SKEWING = 1, 3, 4
Answer = tuple[int, int, int]


def member(names: Names, profile: str, identifier: int, alias: str = "", *values: int) -> p4r.Entity:
    """A member; without an action to name it only."""
    made = p4r.ActionProfileMember(action_profile_id=names[profile], member_id=identifier)
    if alias:
        made.action.CopyFrom(action(names, alias, *map(number, values)).action)
    return p4r.Entity(action_profile_member=made)


def group(
    names: Names, identifier: int, *members: tuple[int, int], profile: str = "spread", size: int = 0
) -> p4r.Entity:
    """A group of (member, weight)."""
    made = p4r.ActionProfileGroup(action_profile_id=names[profile], group_id=identifier, max_size=size)
    for known, weight in members:
        made.members.add(member_id=known, weight=weight)
    return p4r.Entity(action_profile_group=made)


def entry(names: Names, table: str, key: int, to_member: int = 0, to_group: int = 0) -> p4r.Entity:
    """An entry of `first` or `spreading`; it names a key only without a member or group."""
    made = p4r.TableEntry(table_id=names[table])
    made.match.add(field_id=1).exact.value = number(key)
    if to_member:
        made.action.action_profile_member_id = to_member
    if to_group:
        made.action.action_profile_group_id = to_group
    return p4r.Entity(table_entry=made)


def one_shot(names: Names, key: int, *actions: tuple[str, int, tuple[int, ...]]) -> p4r.Entity:
    """An entry of `spreading` with (action, weight, parameters)."""
    made = p4r.TableEntry(table_id=names["spreading"])
    made.match.add(field_id=1).exact.value = number(key)
    made.action.action_profile_action_set.SetInParent()
    for alias, weight, values in actions:
        made.action.action_profile_action_set.action_profile_actions.add(
            action=action(names, alias, *map(number, values)).action, weight=weight
        )
    return p4r.Entity(table_entry=made)


def question(which: int, key: int, salt: int = 0, more: int = 0) -> bytes:
    """A packet for one of the tables."""
    return struct.pack(">BBHI", which, key, salt, more)


def ask(target: Target, questions: Sequence[bytes]) -> list[Answer]:
    """Port, value and way of each answer."""
    return [(port, *struct.unpack(">HB", data[8:11])) for ((port, data),) in target.exchange(questions)]


def many(which: int, key: int, count: int = 60, seed: int = 1) -> list[bytes]:
    """Packets that differ in what the selector hashes."""
    rng = random.Random(seed)
    return [question(which, key, rng.getrandbits(16), rng.getrandbits(32)) for _ in range(count)]


def chosen(questions: Sequence[bytes], values: Sequence[int]) -> list[int]:
    """What CRC-32 of salt and more picks."""
    return [values[zlib.crc32(packet[2:8]) % len(values)] for packet in questions]


@pytest.fixture
def names(target: Target) -> Names:
    """The program `indirect`, just pushed."""
    return target.push("indirect")


def values(answers: Sequence[Answer]) -> list[int]:
    """What the actions wrote."""
    return [value for _, value, _ in answers]


def test_a_member_is_what_its_entries_do(target: Target, names: Names) -> None:
    write = target.client.write
    write(insert(member(names, "shared", 7, "answer", 70)), insert(member(names, "shared", 3, "send", 5, 71)))
    write(insert(entry(names, "first", 1, to_member=7)), insert(entry(names, "first", 2, to_member=3)))
    assert ask(target, [question(FIRST, key) for key in (1, 2, 3)]) == [(3, 70, 1), (5, 71, 1), (3, 0, 2)]
    write(modify(member(names, "shared", 7, "send", 9, 72)))
    assert ask(target, [question(FIRST, 1)]) == [(9, 72, 1)]
    write(modify(entry(names, "first", 1, to_member=3)))
    assert ask(target, [question(FIRST, 1)]) == [(5, 71, 1)]
    write(delete(member(names, "shared", 7)))
    write(delete(entry(names, "first", 1)))
    assert ask(target, [question(FIRST, 1)]) == [(3, 0, 2)]


def test_members_and_groups_read_as_written(target: Target, names: Names) -> None:
    members = [member(names, "spread", 4, "answer", 1), member(names, "spread", 9, "drop")]
    groups = [group(names, 2, (4, 2), (9, 1), size=6), group(names, 1, (9, 3), size=3)]
    refer = entry(names, "spreading", 1, to_group=2)
    for batch in (members, groups, [refer, entry(names, "spreading", 2, to_member=9)]):
        target.client.write(*map(insert, batch))
    read = target.client.read
    wildcard = p4r.ActionProfileMember(action_profile_id=names["spread"])
    # BMv2 repeats a member that weighs more than one
    assert set(map(str, read(p4r.Entity(action_profile_member=wildcard)))) == set(map(str, members))
    every = p4r.Entity(action_profile_group=p4r.ActionProfileGroup(action_profile_id=names["spread"]))
    found = {e.action_profile_group.group_id: e.action_profile_group for e in read(every)}
    for written in groups:
        got = found[written.action_profile_group.group_id]
        assert got.max_size == written.action_profile_group.max_size
        assert sorted(map(str, got.members)) == sorted(map(str, written.action_profile_group.members))
    assert read(member(names, "spread", 9)) == [members[1]]
    table = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["spreading"]))
    assert refer in read(table)


def test_the_hash_picks_by_weight(target: Target, names: Names) -> None:
    for identifier, value in ((5, 50), (1, 10), (3, 30)):
        target.client.write(insert(member(names, "spread", identifier, "answer", value)))
    target.client.write(insert(group(names, 1, (1, 1), (5, 3), (3, 1), size=6)))
    target.client.write(insert(entry(names, "spreading", 1, to_group=1)))
    packets = many(SPREADING, 1)
    # handles 0, 1, 2 for the members as they came, 3 and 4 for the copies that member 5's weight takes
    assert values(ask(target, packets)) == chosen(packets, [50, 10, 30, 50, 50])
    target.client.write(modify(group(names, 1, (1, 1), (5, 1), size=6)))
    assert values(ask(target, packets)) == chosen(packets, [50, 10])
    target.client.write(modify(member(names, "spread", 1, "send", 6, 60)))
    assert values(ask(target, packets)) == chosen(packets, [50, 60])


def test_what_is_used_stays(target: Target, names: Names) -> None:
    """BMv2 refuses it too, as UNKNOWN."""
    target.client.write(insert(member(names, "spread", 1, "answer", 1)), insert(member(names, "spread", 2, "drop")))
    target.client.write(insert(group(names, 1, (1, 1), size=2)))
    target.client.write(
        insert(entry(names, "spreading", 1, to_group=1)), insert(entry(names, "spreading", 2, to_member=2))
    )
    refused = rpc_code.FAILED_PRECONDITION if target.name == "softswitch" else rpc_code.UNKNOWN
    for used in (member(names, "spread", 1), member(names, "spread", 2), group(names, 1)):
        assert target.refusal(delete(used)) == refused
    target.client.write(delete(entry(names, "spreading", 1)), delete(entry(names, "spreading", 2)))
    target.client.write(delete(group(names, 1)))
    target.client.write(delete(member(names, "spread", 1)), delete(member(names, "spread", 2)))


def test_errors(target: Target, names: Names) -> None:
    target.client.write(insert(member(names, "spread", 1, "answer", 1)), insert(member(names, "spread", 2, "drop")))
    target.client.write(insert(group(names, 1, (1, 1), size=6)))
    answer = member(names, "spread", 1, "answer", 1)
    refusals = {
        "known member": (insert(answer), rpc_code.ALREADY_EXISTS),
        "known group": (insert(group(names, 1, (1, 1), size=6)), rpc_code.ALREADY_EXISTS),
        "unknown member": (modify(member(names, "spread", 8, "drop")), rpc_code.NOT_FOUND),
        "unknown member to delete": (delete(member(names, "spread", 8)), rpc_code.NOT_FOUND),
        "unknown group": (modify(group(names, 8, (1, 1), size=6)), rpc_code.NOT_FOUND),
        "unknown group to delete": (delete(group(names, 8)), rpc_code.NOT_FOUND),
        "group of unknown members": (modify(group(names, 1, (8, 1), size=6)), rpc_code.NOT_FOUND),
        "member twice": (modify(group(names, 1, (1, 1), (1, 1), size=6)), rpc_code.INVALID_ARGUMENT),
        "no weight": (modify(group(names, 1, (1, 0), size=6)), rpc_code.INVALID_ARGUMENT),
        "other max_size": (modify(group(names, 1, (1, 1), size=5)), rpc_code.INVALID_ARGUMENT),
        "max_size too large": (insert(group(names, 2, (1, 1), size=7)), rpc_code.INVALID_ARGUMENT),
        "group too large": (modify(group(names, 1, (1, 3), (2, 4), size=6)), rpc_code.RESOURCE_EXHAUSTED),
        "unknown action": (insert(member(names, "skewed", 1, "drop")), rpc_code.INVALID_ARGUMENT),
        "default action": (insert(member(names, "spread", 4, "NoAction")), rpc_code.PERMISSION_DENIED),
        "entry of unknown member": (insert(entry(names, "spreading", 1, to_member=8)), rpc_code.NOT_FOUND),
        "entry of unknown group": (insert(entry(names, "spreading", 1, to_group=8)), rpc_code.NOT_FOUND),
        "action in an indirect table": (insert(direct(names)), rpc_code.INVALID_ARGUMENT),
        "group without selector": (insert(entry(names, "first", 1, to_group=1)), rpc_code.INVALID_ARGUMENT),
        "one shot beside members": (insert(one_shot(names, 1, ("drop", 1, ()))), rpc_code.INVALID_ARGUMENT),
    }
    differs: dict[str, int] = {}
    if target.name == "bmv2":
        unknown = dict.fromkeys(("entry of unknown member", "entry of unknown group"), rpc_code.INVALID_ARGUMENT)
        differs = {"default action": 0, **unknown}
    for name, (update, code) in refusals.items():
        assert target.refusal(update) == differs.get(name, code), name


def direct(names: Names) -> p4r.Entity:
    """An entry of `spreading` as if it were a direct table."""
    made = entry(names, "spreading", 1)
    made.table_entry.action.CopyFrom(action(names, "answer", number(1)))
    return made


def test_a_profile_holds_so_many_members(softswitch: Target) -> None:
    """BMv2 does not count them."""
    names = softswitch.push("indirect")
    softswitch.client.write(*(insert(member(names, "shared", i, "answer", i)) for i in range(1, 9)))
    assert softswitch.refusal(insert(member(names, "shared", 9, "answer", 9))) == rpc_code.RESOURCE_EXHAUSTED
    softswitch.client.write(delete(member(names, "shared", 1)), insert(member(names, "shared", 9, "answer", 9)))


def test_one_shots(target: Target, names: Names) -> None:
    made = one_shot(names, 1, ("answer", 2, (10,)), ("send", 1, (6, 11)), ("answer", 1, (10,)))
    target.client.write(insert(made))
    packets = many(SPREADING, 1)
    assert values(ask(target, packets)) == chosen(packets, [10, 10, 11, 10])
    assert target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["spreading"]))) == [made]
    target.client.write(insert(one_shot(names, 2, ("answer", 1, (20,)))))
    target.client.write(modify(one_shot(names, 1, ("answer", 1, (12,)), ("answer", 3, (13,)))))
    assert values(ask(target, packets)) == chosen(packets, [12, 13, 13, 13])
    assert values(ask(target, [question(SPREADING, 2)])) == [20]
    mixed = insert(member(names, "spread", 1, "answer", 1))
    assert target.refusal(mixed) == rpc_code.INVALID_ARGUMENT
    target.client.write(delete(entry(names, "spreading", 1)), delete(entry(names, "spreading", 2)))
    assert values(ask(target, [question(SPREADING, 1)])) == [0]
    assert target.refusal(mixed) == 0


def test_what_a_read_refers_to_filters_nothing(target: Target, names: Names) -> None:
    """So the specification, "Wildcard Reads": actions filter by id alone. Clients read with what they have written."""
    client = target.client
    client.write(*(insert(member(names, "shared", number, "answer", number)) for number in (1, 2)))
    written = [entry(names, "first", number, to_member=number) for number in (1, 2)]
    client.write(*map(insert, written))
    for reference in (
        p4r.TableAction(action_profile_member_id=2),
        p4r.TableAction(action_profile_group_id=2),
        one_shot(names, 1, ("answer", 1, (20,))).table_entry.action,
    ):
        wanted = p4r.TableEntry(table_id=names["first"], action=reference)
        assert sorted(client.read(p4r.Entity(table_entry=wanted)), key=str) == sorted(written, key=str)


def test_a_one_shot_no_larger_than_a_group(softswitch: Target) -> None:
    """BMv2's server says RESOURCE_EXHAUSTED where the specification has INVALID_ARGUMENT."""
    names = softswitch.push("indirect")
    assert softswitch.refusal(insert(one_shot(names, 1, ("answer", 7, (1,))))) == rpc_code.INVALID_ARGUMENT
    made = one_shot(names, 1, ("answer", 7, (1,)))
    made.table_entry.action.action_profile_action_set.size_semantics = p4r.ActionProfileActionSet.SUM_OF_MEMBERS
    assert softswitch.refusal(insert(made)) == 0
    assert softswitch.client.read(entry(names, "spreading", 1)) == [made]
    made = one_shot(names, 2, ("answer", 1, (1,)))
    made.table_entry.action.action_profile_action_set.action_selection_mode = p4r.ActionProfileActionSet.RANDOM
    assert softswitch.refusal(insert(made)) == rpc_code.UNIMPLEMENTED


def test_an_empty_group_runs_nothing(softswitch: Target) -> None:
    """BMv2 refuses the entry; a group that becomes empty under an entry makes it read what is not there."""
    names = softswitch.push("indirect")
    softswitch.client.write(insert(group(names, 1, size=2)), insert(entry(names, "spreading", 1, to_group=1)))
    assert ask(softswitch, [question(SPREADING, 1)]) == [(3, 0, 0)]


def test_the_default_entry_of_an_indirect_table_is_constant(softswitch: Target) -> None:
    names = softswitch.push("indirect")
    for reset in (True, False):
        made = p4r.TableEntry(table_id=names["first"], is_default_action=True)
        if not reset:
            made.action.action_profile_member_id = 1
        assert softswitch.refusal(modify(p4r.Entity(table_entry=made))) == rpc_code.PERMISSION_DENIED


def test_a_batch_that_fails_leaves_nothing(softswitch: Target) -> None:
    names = softswitch.push("indirect")
    updates = [
        insert(member(names, "spread", 1, "answer", 1)),
        insert(member(names, "spread", 2, "answer", 2)),
        insert(group(names, 1, (1, 2), (2, 1), size=4)),
        insert(entry(names, "spreading", 1, to_group=1)),
    ]
    broken = insert(entry(names, "spreading", 2, to_member=9))
    with pytest.raises(BatchError):
        softswitch.client.write(*updates, broken, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    for kind in ("action_profile_member", "action_profile_group", "table_entry"):
        everything = p4r.Entity()
        getattr(everything, kind).SetInParent()
        assert softswitch.client.read(everything) == []
    softswitch.client.write(*updates, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    packets = many(SPREADING, 1)
    assert values(ask(softswitch, packets)) == chosen(packets, [1, 2, 1])


def test_everything_survives_a_reconciliation(softswitch: Target) -> None:
    names = softswitch.push("indirect")
    softswitch.client.write(*(insert(member(names, "spread", i, "answer", i)) for i in (1, 2, 3)))
    softswitch.client.write(insert(group(names, 1, (2, 1), (3, 2), size=5)))
    softswitch.client.write(insert(entry(names, "spreading", 1, to_group=1)))
    softswitch.client.write(insert(entry(names, "spreading", 2, to_member=1)))
    packets = many(SPREADING, 1)
    before = values(ask(softswitch, packets))
    config = names.config()
    config.p4_device_config += b"\n"
    softswitch.client.push(config, action=p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    assert values(ask(softswitch, [question(SPREADING, 2)])) == [1]
    assert sorted(map(str, values(ask(softswitch, packets)))) == sorted(map(str, before))


@pytest.mark.parametrize("seed", range(3))
def test_bmv2_picks_the_same_after_anything(softswitch: Target, running_bmv2: Target, seed: int) -> None:
    """Members and groups that come, change and go at random: both targets refuse the same and pick the same."""
    both, rng = (softswitch, running_bmv2), random.Random(seed)
    names = softswitch.push("indirect")
    running_bmv2.push("indirect")
    known: set[int] = set()
    groups: dict[int, set[int]] = {}
    for key in (1, 2):
        for target in both:
            target.client.write(insert(member(names, "spread", 90 + key, "answer", 900 + key)))
            target.client.write(insert(group(names, key, (90 + key, 1), size=6)))
            target.client.write(insert(entry(names, "spreading", key, to_group=key)))
        known.add(90 + key)
        groups[key] = {90 + key}
    for step in range(60):
        identifier, key = rng.choice([7, 300, 64, 12, 1000, 5, 90, 33]), rng.choice([1, 2])
        used = identifier in groups[1] | groups[2]
        if rng.random() < 0.5:
            if identifier not in known:
                update = insert(member(names, "spread", identifier, "answer", 60 * identifier + step))
                known.add(identifier)
            elif not used:
                update = delete(member(names, "spread", identifier))
                known.remove(identifier)
            else:
                update = modify(member(names, "spread", identifier, "answer", 60 * identifier + step))
        else:
            picked = rng.sample(sorted(known), rng.randrange(2, min(len(known), 3) + 1))
            update = modify(group(names, key, *((m, rng.randrange(1, 3)) for m in picked), size=6))
            groups[key] = set(picked)
        assert [target.refusal(update) for target in both] == [0, 0], update
    for key in (1, 2):
        packets = many(SPREADING, key, 80, seed)
        ours, theirs = (values(ask(target, packets)) for target in both)
        assert ours == theirs
        assert len(set(ours)) > 1, "the groups have two members and more"
