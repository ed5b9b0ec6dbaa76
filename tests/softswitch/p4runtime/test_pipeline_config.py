"""SetForwardingPipelineConfig and GetForwardingPipelineConfig against the specification."""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from finsy.proto import p4r
from softswitch.engine.compiled import Compiled, Prepare

from tests.softswitch.p4runtime import test_action_profiles as profiles
from tests.softswitch.p4runtime.client import TIMEOUT, BatchError, Client, Names, Stream, uint128
from tests.softswitch.p4runtime.entities import (
    action,
    counter_cell,
    default_entry,
    delete,
    exact_entry,
    group,
    insert,
    lpm_entry,
    modify,
    register_cell,
    session,
    ternary_entry,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

Set = p4r.SetForwardingPipelineConfigRequest
Get = p4r.GetForwardingPipelineConfigRequest


def refusal(client: Client, config: p4r.ForwardingPipelineConfig | None, action: int) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        client.push(config, action)
    return caught.value


def test_device_without_config_says_so(client: Client) -> None:
    assert client.config() is None
    with pytest.raises(grpc.RpcError) as read:
        client.read(p4r.Entity(table_entry=p4r.TableEntry()))
    assert read.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_config_comes_back_as_pushed(client: Client, names: Names) -> None:
    client.primary()
    client.push(names.config(cookie=0xC0FFEE))
    assert client.config() == names.config(cookie=0xC0FFEE)
    cookie = p4r.ForwardingPipelineConfig.Cookie(cookie=0xC0FFEE)
    assert client.config(Get.COOKIE_ONLY) == p4r.ForwardingPipelineConfig(cookie=cookie)
    assert client.config(Get.P4INFO_AND_COOKIE) == p4r.ForwardingPipelineConfig(cookie=cookie, p4info=names.p4info)
    assert client.config(Get.DEVICE_CONFIG_AND_COOKIE) == p4r.ForwardingPipelineConfig(
        cookie=cookie, p4_device_config=names.device_config
    )
    client.push(names.config())
    assert client.config(Get.COOKIE_ONLY) == p4r.ForwardingPipelineConfig()


@pytest.mark.parametrize("action", [Set.VERIFY, Set.VERIFY_AND_SAVE, Set.VERIFY_AND_COMMIT, Set.RECONCILE_AND_COMMIT])
def test_bad_configs_are_refused_and_change_nothing(client: Client, names: Names, action: int) -> None:
    client.primary()
    client.push(names.config(cookie=1))
    wrong_width = names.config()
    wrong_width.p4info.tables[0].match_fields[0].bitwidth = 17
    unknown_table = names.config()
    unknown_table.p4info.tables[0].preamble.name = "EverythingIngress.no_such_table"
    same_ids = names.config()
    same_ids.p4info.tables[1].preamble.id = same_ids.p4info.tables[0].preamble.id
    metered = names.config()
    metered.p4info.meters.add().preamble.name = "a_meter"
    endless = names.config()
    endless.p4info.type_info.structs["seen_t"].members.add().type_spec.struct.name = "seen_t"
    no_forward = names.config()
    const_table = next(t for t in no_forward.p4info.tables if t.preamble.alias == "const_table")
    del const_table.action_refs[[ref.id for ref in const_table.action_refs].index(names["forward"])]
    indirect = names.config()
    indirect.p4info.counters.add(size=8).preamble.CopyFrom(indirect.p4info.direct_counters[0].preamble)
    del indirect.p4info.direct_counters[:]
    next(t for t in indirect.p4info.tables if t.preamble.alias == "exact_table").ClearField("direct_resource_ids")
    direct = names.config()
    by_kind = direct.p4info.direct_counters.add()
    by_kind.preamble.CopyFrom(direct.p4info.counters[0].preamble)
    del direct.p4info.counters[:]
    lpm_table = next(t for t in direct.p4info.tables if t.preamble.alias == "lpm_table")
    lpm_table.direct_resource_ids.append(by_kind.preamble.id)
    not_json = names.config()
    not_json.p4_device_config = b"{]"
    bad = {
        "needed": None,
        "17": wrong_width,
        "no_such_table": unknown_table,
        "share id": same_ids,
        "a_meter": metered,
        "contains itself": endless,
        "has no action 'EverythingIngress.forward', which an entry": no_forward,
        "exact_counter": indirect,
        "no direct counter": direct,
        "p4_device_config": not_json,
    }
    for what, config in bad.items():
        error = refusal(client, config, action)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, what
        assert what in str(error.details())
    assert client.config() == names.config(cookie=1)


def test_contradictory_entries_are_refused_while_the_running_program_is_whole(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    flood = exact_entry(names, 1, port=0)
    flood.table_entry.action.CopyFrom(action(names, "multicast", b"\x07"))
    client.write(insert(flood), insert(group(7, (4, 0))), insert(session(9, 2)))
    program = json.loads(names.device_config)
    tables = (table for pipeline in program["pipelines"] for table in pipeline["tables"])
    first, second = next(table for table in tables if table["name"] == "EverythingIngress.const_table")["entries"]
    second.update(match_key=first["match_key"], priority=first["priority"])
    config = names.config()
    config.p4_device_config = json.dumps(program).encode()
    for how in (Set.VERIFY, Set.VERIFY_AND_COMMIT):
        error = refusal(client, config, how)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "two entries of table EverythingIngress.const_table" in str(error.details())
    assert client.read(group(0), session(0)) == [group(7, (4, 0)), session(9, 2)]
    packet = message(0, tag=1, pad=0xFF)
    assert sorted(port for port, _ in switch.engine.process(1, packet)) == [2, 4]


def test_unsupported_construct_is_named_with_its_place(client: Client, names: Names) -> None:
    program = json.loads(names.device_config)
    action = next(a for a in program["actions"] if a["name"] == "EverythingIngress.drop")
    action["primitives"][0]["op"] = "cast_a_spell"
    client.primary()
    config = names.config()
    config.p4_device_config = json.dumps(program).encode()
    error = refusal(client, config, Set.VERIFY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cast_a_spell" in str(error.details())
    assert "everything.p4:" in str(error.details())


def test_action_unset_and_other_device(client: Client, names: Names) -> None:
    client.primary()
    assert refusal(client, names.config(), Set.UNSPECIFIED).code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        client.push(names.config(), device_id=7)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_commit_without_saved_config(client: Client, names: Names) -> None:
    client.primary()
    assert refusal(client, None, Set.COMMIT).code() is grpc.StatusCode.NOT_FOUND
    client.push(names.config(), Set.VERIFY)
    assert refusal(client, None, Set.COMMIT).code() is grpc.StatusCode.NOT_FOUND
    assert refusal(client, names.config(), Set.COMMIT).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_commit_again_clears_the_state(client: Client, primary: Stream, names: Names) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))
    client.push(names.config())
    assert client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))) == []


def test_saved_config_takes_writes_and_forwards_once_committed(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))
    client.push(names.config(cookie=2), Set.VERIFY_AND_SAVE)
    assert client.config() == names.config(cookie=2)
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    assert client.read(everything) == []
    client.write(insert(exact_entry(names, 1, port=4)), modify(register_cell(names, "wide_register", 2, b"\x07")))
    with pytest.raises(BatchError):
        client.write(insert(exact_entry(names, 1, port=5)))
    # The saved pipeline is not the running one.
    assert switch.engine.process(1, message(0, tag=1)) == [(3, message(0, tag=1))]
    client.push(None, Set.COMMIT)
    assert switch.engine.process(1, message(0, tag=1)) == [(4, message(0, tag=1))]
    assert client.read(everything) == [exact_entry(names, 1, port=4)]
    assert client.read(register_cell(names, "wide_register", 2)) == [register_cell(names, "wide_register", 2, b"\x07")]


def test_reconcile_keeps_the_state(client: Client, primary: Stream, names: Names, switch: RunningSwitch) -> None:
    default = default_entry(names, "keyless_table", "forward", b"\x07")
    client.write(insert(exact_entry(names, 1, port=3)), modify(default))
    client.write(modify(register_cell(names, "signed_register", 1, b"\xfe")))
    switch.engine.process(1, message(0, tag=1))
    changed = names.config(cookie=9)
    changed.p4_device_config = names.device_config.replace(b"everything.p4", b"everything_2.p4")
    client.push(changed, Set.RECONCILE_AND_COMMIT)
    assert client.config() == changed
    entry = p4r.TableEntry(table_id=names["exact_table"], counter_data=p4r.CounterData())
    (read_back,) = client.read(p4r.Entity(table_entry=entry))
    assert read_back.table_entry.counter_data == p4r.CounterData(packet_count=1, byte_count=6)
    keyless = p4r.TableEntry(table_id=names["keyless_table"], is_default_action=True)
    assert client.read(p4r.Entity(table_entry=keyless)) == [default]
    cell = register_cell(names, "signed_register", 1, b"\xfe")
    assert client.read(register_cell(names, "signed_register", 1)) == [cell]
    assert switch.engine.process(1, message(0, tag=1)) == [(3, message(0, tag=1))]


def with_other_default(names: Names) -> p4r.ForwardingPipelineConfig:
    """`everything`, but for the port to which `keyless_table` forwards by default: 6 instead of 5."""
    program = json.loads(names.device_config)
    tables = (table for pipeline in program["pipelines"] for table in pipeline["tables"])
    keyless = next(table for table in tables if table["name"] == "EverythingIngress.keyless_table")
    assert keyless["default_entry"]["action_data"] == ["0x5"]
    keyless["default_entry"]["action_data"] = ["0x6"]
    config = names.config()
    config.p4_device_config = json.dumps(program).encode()
    return config


def test_reconcile_under_traffic_loses_and_misforwards_no_packet(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    known = [exact_entry(names, tag, port=3) for tag in range(3)]
    flood = exact_entry(names, 3, port=0)
    flood.table_entry.action.CopyFrom(action(names, "multicast", b"\x07"))
    client.write(*map(insert, known), insert(flood), insert(group(7, (1, 0), (2, 0))), insert(session(9, 8)))
    wrong: list[object] = []
    sent = [0, 0]
    seen: set[int] = set()
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            for tag in range(3):
                if (out := switch.engine.process(1, message(0, tag=tag))) != [(3, message(0, tag=tag))]:
                    wrong.append(out)
            ports = [port for port, _ in switch.engine.process(1, message(3))]
            seen.update(ports)
            if len(ports) != 1:
                wrong.append(ports)
            sent[0] += 4
            sent[1] += 1
            if sorted(port for port, _ in switch.engine.process(1, message(0, tag=3))) != [1, 2]:
                wrong.append("multicast")

    with ThreadPoolExecutor() as pool:
        traffic = pool.submit(send)
        for config in [with_other_default(names), names.config()] * 4:
            client.push(config, Set.RECONCILE_AND_COMMIT)
        stop.set()
        traffic.result()
    assert wrong == []
    assert seen == {5, 6}
    entry = p4r.TableEntry(table_id=names["exact_table"], counter_data=p4r.CounterData())
    counted = [entity.table_entry.counter_data.packet_count for entity in client.read(p4r.Entity(table_entry=entry))]
    assert sum(counted) == sent[0] > 100
    (cell,) = client.read(counter_cell(names, 3))
    assert cell.counter_entry.data.packet_count == sent[1]


def test_reconcile_carries_what_the_new_program_has_in_another_shape(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    """A register that has grown: its cells hold what they held when the new program was filled."""
    client.write(modify(register_cell(names, "wide_register", 2, b"\x07")))
    program = json.loads(names.device_config)
    register = next(r for r in program["register_arrays"] if r["name"] == "EverythingIngress.wide_register")
    register["size"] = 32
    larger = names.config()
    larger.p4_device_config = json.dumps(program).encode()
    next(r for r in larger.p4info.registers if r.preamble.alias == "wide_register").size = 32
    client.push(larger, Set.RECONCILE_AND_COMMIT)
    assert len(client.read(register_cell(names, "wide_register", None))) == 32
    assert client.read(register_cell(names, "wide_register", 2)) == [register_cell(names, "wide_register", 2, b"\x07")]


def renumbered(program: Any) -> Any:
    """The JSON of a program with other numbers for its actions."""
    if isinstance(program, list):
        return [renumbered(item) for item in program]
    if not isinstance(program, dict):
        return program
    made = {key: renumbered(value) for key, value in program.items()}
    if "action_id" in made:
        made["action_id"] += 100
    if "action_ids" in made:
        made["action_ids"] = [number + 100 for number in made["action_ids"]]
    if "runtime_data" in made:
        made["id"] += 100
    return made


def moved(names: Names) -> p4r.ForwardingPipelineConfig:
    """A program as before but for the numbers of its actions."""
    config = names.config()
    config.p4_device_config = json.dumps(renumbered(json.loads(names.device_config))).encode()
    return config


def test_reconcile_takes_entries_over_to_renumbered_actions(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    ranged = ternary_entry(names, 5, port=6, kind=1, tag=(2, 3), value=(1, 500))
    entities = [exact_entry(names, 1, port=3), exact_entry(names, 2, port=4), lpm_entry(names, 0xAB00, 8, 7), ranged]
    client.write(*map(insert, entities))
    switch.engine.process(1, message(0, tag=1))
    for config in (moved(names), names.config()):
        client.push(config, Set.RECONCILE_AND_COMMIT)
        assert switch.engine.process(1, message(0, tag=1))[0][0] == 3
        everything = client.read(p4r.Entity(table_entry=p4r.TableEntry()))
        assert [e for e in everything if not e.table_entry.is_const] == entities
        client.write(modify(exact_entry(names, 2, port=5)))
        assert [port for port, _ in switch.engine.process(1, message(0, tag=2))] == [5]
        client.write(delete(entities[1]), insert(entities[1]))
        assert [port for port, _ in switch.engine.process(1, message(0, tag=2))] == [4]
        everything = client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"])))
        assert everything == entities[:2]
    counted = p4r.TableEntry(table_id=names["exact_table"], counter_data=p4r.CounterData())
    assert client.read(p4r.Entity(table_entry=counted))[0].table_entry.counter_data.packet_count == 3


def test_reconcile_takes_members_and_groups_over(client: Client, switch: RunningSwitch) -> None:
    names = Names.of("indirect")
    client.primary()
    client.push(names.config())
    members = [profiles.member(names, "spread", i, "answer", 100 + i) for i in (1, 2, 3)]
    client.write(*map(insert, members), insert(profiles.group(names, 1, (1, 2), (2, 1), size=6)))
    client.write(insert(profiles.entry(names, "spreading", 1, to_group=1)))
    packets = profiles.many(3, 1)

    def answers() -> list[bytes]:
        return [data for packet in packets for _, data in switch.engine.process(1, packet)]

    before = answers()
    client.push(moved(names), Set.RECONCILE_AND_COMMIT)
    assert answers() == before
    with pytest.raises(BatchError):
        client.write(delete(members[0]))
    client.write(modify(profiles.group(names, 1, (3, 1), size=6)))
    assert {int.from_bytes(data[8:10], "big") for data in answers()} == {103}
    client.write(delete(members[0]), delete(profiles.entry(names, "spreading", 1)))


def test_reconcile_writes_entries_anew_for_a_table_that_has_changed(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    """`exact_table` has become larger: its entries are written anew, with what they counted."""
    client.write(insert(exact_entry(names, 1, port=3)))
    switch.engine.process(1, message(0, tag=1))
    larger = names.config()
    next(t for t in larger.p4info.tables if t.preamble.alias == "exact_table").size += 1
    client.push(larger, Set.RECONCILE_AND_COMMIT)
    counted = p4r.TableEntry(table_id=names["exact_table"], counter_data=p4r.CounterData())
    (entity,) = client.read(p4r.Entity(table_entry=counted))
    assert entity.table_entry.counter_data.packet_count == 1
    assert switch.engine.process(1, message(0, tag=1)) == [(3, message(0, tag=1))]


def test_commit_takes_over_groups_and_sessions_of_the_saved_config(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch
) -> None:
    client.write(insert(group(7, (1, 0))), insert(session(9, 2)))
    client.push(names.config(), Set.VERIFY_AND_SAVE)
    flood = exact_entry(names, 1, port=0)
    flood.table_entry.action.CopyFrom(action(names, "multicast", b"\x07"))
    client.write(insert(flood), insert(group(7, (4, 0))))
    packet = message(3, pad=0xFF)
    assert sorted(port for port, _ in switch.engine.process(1, packet)) == [2, 5]
    client.push(None, Set.COMMIT)
    assert [port for port, _ in switch.engine.process(1, message(0, tag=1))] == [4]
    assert [port for port, _ in switch.engine.process(1, packet)] == [5]
    assert client.read(group(0), session(0)) == [group(7, (4, 0))]
    client.write(delete(group(7)), delete(flood))


def test_reconcile_refuses_what_cannot_keep_the_state(client: Client, primary: Stream, names: Names) -> None:
    client.write(insert(exact_entry(names, 1, port=3)), insert(exact_entry(names, 2, port=3)))
    smaller = names.config()
    smaller.p4info.tables[0].size = 1
    error = refusal(client, smaller, Set.RECONCILE_AND_COMMIT)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "exact_table" in str(error.details())
    assert len(client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"])))) == 2


def test_writes_wait_for_a_push_whose_client_has_given_up(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, run = threading.Event(), switch.engine.run

    def slowly(compiled: Compiled) -> None:
        begun.set()
        time.sleep(0.3)
        run(compiled)

    monkeypatch.setattr(switch.engine, "run", slowly)
    request = Set(device_id=1, action=Set.VERIFY_AND_COMMIT, config=names.config(cookie=7), election_id=uint128(10))
    push = client.stub.SetForwardingPipelineConfig.future(request)
    assert begun.wait(TIMEOUT)
    push.cancel()
    client.write(insert(exact_entry(names, 1, port=3)))
    assert client.config() == names.config(cookie=7)
    assert switch.engine.process(1, message(0, tag=1)) == [(3, message(0, tag=1))]


@pytest.mark.parametrize("action", [Set.VERIFY, Set.VERIFY_AND_SAVE, Set.VERIFY_AND_COMMIT])
def test_the_running_program_is_read_and_written_while_another_compiles(
    client: Client,
    primary: Stream,
    names: Names,
    switch: RunningSwitch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    action: int,
) -> None:
    begun, answered, compile_program = threading.Event(), threading.Event(), switch.engine.compile

    def slowly(text: str, prepare: Prepare) -> Compiled:
        begun.set()
        assert answered.wait(TIMEOUT)
        return compile_program(text, prepare)

    monkeypatch.setattr(switch.engine, "compile", slowly)
    caplog.set_level(logging.INFO, "softswitch.p4runtime")
    with ThreadPoolExecutor() as pool:
        push = pool.submit(client.push, names.config(cookie=7), action)
        assert begun.wait(TIMEOUT)
        client.write(insert(exact_entry(names, 1, port=3)))
        assert client.read(exact_entry(names, 1, port=3)) == [exact_entry(names, 1, port=3)]
        assert switch.engine.process(1, message(0, tag=1)) == [(3, message(0, tag=1))]
        answered.set()
        push.result(TIMEOUT)
    assert "program checked and compiled in " in caplog.text
    kept = [] if action == Set.VERIFY_AND_COMMIT else [(3, message(0, tag=1))]
    assert [out for out in switch.engine.process(1, message(0, tag=1)) if out[0] == 3] == kept


def test_capabilities(client: Client) -> None:
    assert client.stub.Capabilities(p4r.CapabilitiesRequest()).p4runtime_api_version.startswith("1.4.")
    with pytest.raises(grpc.RpcError) as caught:
        client.stub.Capabilities(p4r.CapabilitiesRequest(device_id=2))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
