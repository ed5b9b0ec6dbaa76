"""Action profiles and indirect tables over Thrift, as BMv2 has them (its `match_tables.cpp`, `action_profile.cpp`)."""

from __future__ import annotations

from finsy.proto import p4r
from softswitch.thrift.definitions import standard

from tests.softswitch.p4runtime.client import Client, Names
from tests.softswitch.thrift.client import NO_OPTIONS, ThriftSwitch, code, exact, ternary
from tests.softswitch.thrift.conftest import Start

ANSWER = "I.answer"
_ERRORS = standard.TableError


def _answer(switch: ThriftSwitch, which: int, key: int = 1) -> int:
    ((_, data),) = switch.engine.process(1, bytes([which, key]) + bytes(6))
    return int.from_bytes(data[8:10], "big")


def _value(number: int) -> list[bytes]:
    return [number.to_bytes(2, "big")]


def test_entries_refer_to_members(start: Start) -> None:
    switch = start("indirect")
    calls = switch.client.standard
    members = [calls.bm_mt_act_prof_add_member(0, "I.shared", ANSWER, _value(value)) for value in (100, 200)]
    assert members == [0, 1]
    handle = calls.bm_mt_indirect_add_entry(0, "I.first", [exact(1)], 0, NO_OPTIONS)
    calls.bm_mt_indirect_add_entry(0, "I.second", [ternary(0, 0)], 1, standard.EntryOptions(priority=1))
    assert (_answer(switch, 1), _answer(switch, 2)) == (100, 200)
    calls.bm_mt_indirect_modify_entry(0, "I.first", handle, 1)
    calls.bm_mt_act_prof_modify_member(0, "I.shared", 1, ANSWER, _value(300))
    assert (_answer(switch, 1), _answer(switch, 2)) == (300, 300)
    (entry,) = calls.bm_mt_get_entries(0, "I.first")
    assert (entry.action.kind, entry.action.member) == (standard.ActionKind.MEMBER, 1)
    assert code(_ERRORS, calls.bm_mt_act_prof_delete_member, 0, "I.shared", 1) == "MBR_STILL_USED"
    calls.bm_mt_act_prof_delete_member(0, "I.shared", 0)
    calls.bm_mt_indirect_delete_entry(0, "I.first", handle)
    assert _answer(switch, 1) == 0
    (member,) = calls.bm_mt_act_prof_get_members(0, "I.shared")
    assert (member.handle, member.action, member.parameters) == (1, ANSWER, _value(300))


def test_groups_have_members_and_entries(start: Start) -> None:
    switch = start("indirect")
    calls, profile = switch.client.standard, "I.spread"
    group = calls.bm_mt_act_prof_create_group(0, profile)
    member = calls.bm_mt_act_prof_add_member(0, profile, ANSWER, _value(100))
    calls.bm_mt_act_prof_add_member_to_group(0, profile, member, group)
    calls.bm_mt_indirect_ws_add_entry(0, "I.spreading", [exact(1)], group, NO_OPTIONS)
    assert _answer(switch, 3) == 100
    assert calls.bm_mt_act_prof_get_group(0, profile, group).members == [member]
    (entry,) = calls.bm_mt_get_entries(0, "I.spreading")
    assert (entry.action.kind, entry.action.group) == (standard.ActionKind.GROUP, group)
    add, remove = calls.bm_mt_act_prof_add_member_to_group, calls.bm_mt_act_prof_remove_member_from_group
    assert code(_ERRORS, add, 0, profile, member, group) == "MBR_ALREADY_IN_GRP"
    assert code(_ERRORS, add, 0, profile, 9, group) == "INVALID_MBR_HANDLE"
    assert code(_ERRORS, add, 0, profile, member, 9) == "INVALID_GRP_HANDLE"
    assert code(_ERRORS, calls.bm_mt_act_prof_delete_group, 0, profile, group) == "GRP_STILL_USED"
    remove(0, profile, member, group)
    assert code(_ERRORS, remove, 0, profile, member, group) == "MBR_NOT_IN_GRP"
    assert code(_ERRORS, calls.bm_mt_act_prof_create_group, 0, "I.shared") == "NO_ACTION_PROFILE_SELECTION"
    assert code(_ERRORS, calls.bm_mt_act_prof_create_group, 0, "nothing") == "INVALID_ACTION_PROFILE_NAME"


def test_members_are_p4runtimes_too(start: Start) -> None:
    names, switch = Names.of("indirect"), start("indirect", p4info=True)
    calls = switch.client.standard
    with Client(switch.address) as client:
        client.primary()
        action = p4r.Action(action_id=names["answer"])
        action.params.add(param_id=1, value=b"\x07")
        member = p4r.ActionProfileMember(action_profile_id=names["shared"], member_id=70, action=action)
        client.write(p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(action_profile_member=member)))
    (known,) = calls.bm_mt_act_prof_get_members(0, "I.shared")
    assert (known.handle, known.parameters) == (0, _value(7))
    calls.bm_mt_indirect_add_entry(0, "I.first", [exact(1)], known.handle, NO_OPTIONS)
    assert _answer(switch, 1) == 7


def test_a_default_that_p4runtime_cannot_express_is_refused(start: Start) -> None:
    calls = start("indirect").client.standard
    calls.bm_mt_act_prof_add_member(0, "I.shared", ANSWER, _value(100))
    refused = code(_ERRORS, calls.bm_mt_indirect_set_default_member, 0, "I.first", 0)
    assert refused == "DEFAULT_ENTRY_IS_CONST"
