"""Parser value sets (specification, "ValueSetEntry"). BMv2 has them, but does not serve them over P4Runtime."""

from __future__ import annotations

import pytest
from finsy.proto import p4i, p4r, rpc_code

from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import delete, insert, modify, number
from tests.softswitch.p4runtime.targets import Target


def members(names: Names, alias: str, *fields: tuple[int | tuple[int, int] | None, ...]) -> p4r.Entity:
    """A value set: numbers are exact, pairs are ternary, None is left out."""
    made = p4r.ValueSetEntry(value_set_id=names[alias])
    for values in fields:
        member = made.members.add()
        for place, value in enumerate(values, 1):
            match value:
                case int():
                    member.match.add(field_id=place).exact.value = number(value)
                case (part, mask):
                    ternary = member.match.add(field_id=place).ternary
                    ternary.value, ternary.mask = number(part), number(mask)
    return p4r.Entity(value_set_entry=made)


def way(target: Target, which: int, more: int) -> int:
    """1: `deep` has `which`; 3: `pairs` has `more` too; 2: the constant before it."""
    ((_, data),) = target.send(bytes([which, 0]) + more.to_bytes(2, "big"))
    return data[6] if data[2:4] == more.to_bytes(2, "big") else data[4]


@pytest.fixture
def names(softswitch: Target) -> Names:
    """The program `metered`, just pushed."""
    return softswitch.push("metered")


def test_members_steer_the_parser(softswitch: Target, names: Names) -> None:
    assert way(softswitch, 5, 0x4000) == 0
    softswitch.client.write(modify(members(names, "deep", (5,), (9,))))
    softswitch.client.write(modify(members(names, "pairs", (2, 0x345), (1, 0x111))))
    assert [way(softswitch, which, 0x4000) for which in (5, 9, 6)] == [1, 1, 0]
    assert [way(softswitch, 5, more) for more in (0x2345, 0x2346, 0x1111)] == [3, 1, 2]
    softswitch.client.write(modify(members(names, "deep", (6,))))
    assert [way(softswitch, which, 0x4000) for which in (5, 9, 6)] == [0, 0, 1]
    softswitch.client.write(modify(members(names, "deep")))
    assert way(softswitch, 6, 0x4000) == 0


def test_other_matches_than_exact(softswitch: Target) -> None:
    """p4c tells P4Info of `@match`; BMv2's JSON does not say."""
    names = Names.of("metered")
    for value_set in names.p4info.value_sets:
        if value_set.preamble.alias == "pairs":
            value_set.match[1].match_type = p4i.MatchField.TERNARY
    softswitch.client.push(names.config())
    written = members(names, "pairs", (2, (0x300, 0xF00)), (4, None))
    softswitch.client.write(modify(members(names, "deep", (5,))), modify(written))
    assert [way(softswitch, 5, more) for more in (0x23AA, 0x2399, 0x2499, 0x4000, 0x4FFF, 0x5000)] == [3, 3, 1, 3, 3, 1]
    assert softswitch.client.read(members(names, "pairs")) == [written]


def test_ranges_are_refused_at_the_push(softswitch: Target) -> None:
    names = Names.of("metered")
    names.p4info.value_sets[0].match[0].match_type = p4i.MatchField.RANGE
    with pytest.raises(Exception, match=r"value set 'P\.deep'"):
        softswitch.client.push(names.config())


def test_sets_read_as_written(softswitch: Target, names: Names) -> None:
    written = members(names, "deep", (5,), (9,))
    softswitch.client.write(modify(written))
    everything = softswitch.client.read(p4r.Entity(value_set_entry=p4r.ValueSetEntry()))
    assert sorted(map(str, everything)) == sorted(map(str, [written, members(names, "pairs")]))


def test_errors(softswitch: Target, names: Names) -> None:
    softswitch.client.write(modify(members(names, "deep", (1,))))
    refusals = {
        "insert": (insert(members(names, "deep", (5,))), rpc_code.INVALID_ARGUMENT),
        "delete": (delete(members(names, "deep", (5,))), rpc_code.INVALID_ARGUMENT),
        "twice the same": (modify(members(names, "deep", (5,), (5,))), rpc_code.ALREADY_EXISTS),
        "too many": (modify(members(names, "deep", (5,), (6,), (7,), (8,))), rpc_code.RESOURCE_EXHAUSTED),
        "too wide": (modify(members(names, "deep", (256,))), rpc_code.INVALID_ARGUMENT),
        "a field left out": (modify(members(names, "pairs", (1, None))), rpc_code.INVALID_ARGUMENT),
        "ternary": (modify(members(names, "pairs", (1, (1, 1)))), rpc_code.INVALID_ARGUMENT),
        "unknown": (modify(p4r.Entity(value_set_entry=p4r.ValueSetEntry(value_set_id=1))), rpc_code.INVALID_ARGUMENT),
    }
    for name, (update, code) in refusals.items():
        assert softswitch.refusal(update) == code, name
    assert way(softswitch, 1, 0x4000) == 1, "what was refused changed nothing"


def test_sets_survive_a_reconciliation(softswitch: Target, names: Names) -> None:
    softswitch.client.write(modify(members(names, "deep", (5,))))
    config = names.config()
    config.p4_device_config += b"\n"
    softswitch.client.push(config, action=p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    assert way(softswitch, 5, 0x4000) == 1
