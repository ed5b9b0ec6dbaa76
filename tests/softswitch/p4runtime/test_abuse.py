"""Clients without manners: what they ask for is refused in bounded room, and others are served meanwhile."""

from __future__ import annotations

import gc
import json
import logging
import select
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code, rpc_status
from softswitch.engine.engine import Engine
from softswitch.engine.events import DigestEvent
from softswitch.p4runtime import allowance, arbitration, server, write
from softswitch.p4runtime.config import program_text
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.entities import digests
from softswitch.p4runtime.entities.digests import DigestConfig, DigestLists
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.session import Loss, Room, Session

from tests.patience import until
from tests.softswitch.p4runtime.client import PROGRAMS, TIMEOUT, BatchError, Client, Names, Stream, uint128
from tests.softswitch.p4runtime.entities import (
    counter_cell,
    delete,
    exact_entry,
    group,
    insert,
    lpm_entry,
    modify,
    register_cell,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
SECOND = 10**9


def refused(names: Names, count: int) -> list[p4r.Update]:
    """Updates with values too wide for their field."""
    return [insert(exact_entry(names, 0x10000 + number, port=1)) for number in range(count)]


def batch(updates: Sequence[p4r.Update], atomicity: int = p4r.WriteRequest.CONTINUE_ON_ERROR) -> p4r.WriteRequest:
    return p4r.WriteRequest(device_id=1, election_id=uint128(10), updates=updates, atomicity=atomicity)


@pytest.fixture
def device(names: Names, program_cache: Path) -> Iterator[Device]:
    """A device with the program, without a server."""
    with Engine(cache_dir=program_cache) as engine:
        device = Device(1, engine, lambda: Engine(cache_dir=program_cache), cpu_port=None)
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
        yield device
        device.close()


def test_refused_updates_leave_nothing_for_the_garbage_collector(device: Device, names: Names) -> None:
    updates = refused(names, 1000)
    wanted = [p4r.Entity(table_entry=p4r.TableEntry(table_id=77))] * 1000
    gc.collect()
    gc.disable()
    try:
        assert all(device.write(updates, p4r.WriteRequest.CONTINUE_ON_ERROR))
        assert all(device.read(wanted)[1])
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_others_are_answered_while_a_long_batch_is_done(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    general, read = write.write, Device.read

    def piece(*arguments: Any) -> Any:
        order.append("piece")
        return general(*arguments)

    def another(*arguments: Any) -> Any:
        order.append("read")
        return read(*arguments)

    monkeypatch.setattr(write, "write", piece)
    monkeypatch.setattr(Device, "read", another)
    with Client(switch.address) as other, ThreadPoolExecutor() as pool:
        writing = pool.submit(client.stub.Write, batch(refused(names, 20_000)), timeout=TIMEOUT)
        while not writing.done():
            other.read(counter_cell(names, 0))
    assert order.count("piece") > 100
    first, last = order.index("piece"), len(order) - order[::-1].index("piece")
    assert "read" in order[first:last]


def test_what_another_primary_takes_over_is_not_written_further(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRETCH", 10)
    pieces, general = 0, write.write

    def piece(*arguments: Any) -> Any:
        nonlocal pieces
        pieces += 1
        if pieces == 3:
            switch_over.arbitrate(11)
        return general(*arguments)

    monkeypatch.setattr(write, "write", piece)
    with Client(switch.address) as other:
        switch_over = other.stream()
        with pytest.raises(BatchError) as caught:
            client.write(*refused(names, 5000))
        switch_over.close()
    codes = caught.value.codes
    assert len(codes) == 5000
    assert (codes[0], codes[-1]) == (rpc_code.INVALID_ARGUMENT, rpc_code.PERMISSION_DENIED)
    assert pieces < 5000


def test_errors_are_told_one_by_one_up_to_a_bound(client: Client, primary: Stream, names: Names) -> None:
    with pytest.raises(BatchError) as few:
        client.write(*refused(names, 2500), insert(exact_entry(names, 1, port=3)))
    assert few.value.codes == [rpc_code.INVALID_ARGUMENT] * 2500 + [rpc_code.OK]
    with pytest.raises(grpc.RpcError) as many:
        client.stub.Write(batch([insert(exact_entry(names, 2, port=3)), *refused(names, 20_000)]), timeout=TIMEOUT)
    details = str(many.value.details())
    assert many.value.code() is grpc.StatusCode.UNKNOWN
    assert (
        "20000 of 20001 failed" in details
        and "update 2: INVALID_ARGUMENT: table 'EverythingIngress.exact_table'" in details
    )
    metadata: Any = dict(many.value.trailing_metadata() or ())
    assert rpc_status.Status.FromString(metadata["grpc-status-details-bin"]) == rpc_status.Status(
        code=rpc_code.UNKNOWN, message=details
    )
    assert len(client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"])))) == 2


def test_long_batches_are_rolled_back_too(client: Client, primary: Stream, names: Names) -> None:
    entry = lpm_entry(names, 0xAB00, 8, port=4)
    updates = [insert(entry), delete(entry)] * 1500 + [insert(entry), *refused(names, 1)]
    with pytest.raises(BatchError) as caught:
        client.write(*updates, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert caught.value.codes == [rpc_code.ABORTED] * 3001 + [rpc_code.INVALID_ARGUMENT]
    assert client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["lpm_table"]))) == []
    client.write(*updates[:-1], atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["lpm_table"]))) == [entry]


def test_of_a_batch_that_is_rolled_back_only_unusual_updates_take_long(
    client: Client, primary: Stream, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_SINGLY", 150)
    entry = lpm_entry(names, 0xAB00, 8, port=4)
    updates = [insert(entry), delete(entry)] * 1500
    with pytest.raises(BatchError) as caught:
        client.write(*updates, *refused(names, 1), insert(entry), atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert caught.value.codes == [rpc_code.ABORTED] * 3000 + [rpc_code.INVALID_ARGUMENT, rpc_code.ABORTED]
    groups = [insert(group(number, (1, 0))) for number in range(1, 152)]
    with pytest.raises(grpc.RpcError) as refusal:
        client.write(insert(entry), *groups, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert refusal.value.code() is EXHAUSTED
    assert "at most 150 updates other than plain ones" in str(refusal.value.details())
    client.write(insert(entry), *groups[:150], atomicity=p4r.WriteRequest.CONTINUE_ON_ERROR)


def test_batches_that_others_wait_for_are_bounded(
    client: Client, primary: Stream, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_WHOLE", 1500)
    entry = lpm_entry(names, 0xAB00, 8, port=4)
    updates = [insert(entry), delete(entry)] * 800
    for atomicity in (p4r.WriteRequest.ROLLBACK_ON_ERROR, p4r.WriteRequest.DATAPLANE_ATOMIC):
        with pytest.raises(grpc.RpcError) as caught:
            client.write(*updates, atomicity=atomicity)
        assert caught.value.code() is EXHAUSTED
        assert "at most 1500 updates" in str(caught.value.details())
        client.write(*updates[:1500], atomicity=atomicity)
    client.write(*updates)


def test_refused_calls_are_forgotten(client: Client, primary: Stream, names: Names) -> None:
    """Until the garbage is collected, which is seldom, they would hold on to the requests."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with pytest.raises(BatchError):
                client.write(*refused(names, 10))
            with pytest.raises(grpc.RpcError):
                client.write(election_id=3)
        until(lambda: not [o for o in gc.get_objects() if isinstance(o, P4RuntimeError)], "the end of the errors")
    finally:
        gc.enable()


@pytest.mark.parametrize("octets", [b"\xff", b"\x80", b"\x18\xff"])
def test_what_is_no_json_is_refused_by_its_beginning(octets: bytes) -> None:
    """Numbers without an end would take hours."""
    with pytest.raises(P4RuntimeError, match="neither BMv2 JSON nor a P4DeviceConfig"):
        program_text(octets * (4 << 20))


def test_what_is_quoted_in_an_error_is_shortened(client: Client, primary: Stream, names: Names) -> None:
    config = names.config()
    program = json.loads(config.p4_device_config)
    program["registers"] = program["register_arrays"][0]["size"] = "x" * 100_000
    config.p4_device_config = json.dumps(program).encode()
    with pytest.raises(grpc.RpcError) as caught:
        client.push(config)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert 0 < len(str(caught.value.details())) < 3000


@pytest.fixture
def large(names: Names) -> Names:
    """The program with a register and a counter of which a wildcard read would take gigabytes."""
    program, info = json.loads(names.device_config), type(names.p4info)()
    info.CopyFrom(names.p4info)
    for array in (*program["register_arrays"], *program["counter_arrays"]):
        if array["name"] in ("EverythingIngress.wide_register", "EverythingIngress.by_kind"):
            array["size"] = 1 << 24
    for element in (*info.registers, *info.counters):
        if element.preamble.alias in ("wide_register", "by_kind"):
            element.size = 1 << 24
    return Names(info, json.dumps(program).encode())


def test_wildcards_over_large_arrays_say_what_to_ask_instead(client: Client, large: Names) -> None:
    client.primary()
    client.push(large.config())
    wildcards = {
        "wide_register": (
            register_cell(large, "wide_register", None),
            register_cell(large, "wide_register", None, b"\x01"),
        ),
        "by_kind": (counter_cell(large, None), counter_cell(large, None, packets=1)),
    }
    for alias, (read, written) in wildcards.items():
        for refuse in (lambda: client.read(read), lambda: client.write(modify(written))):  # noqa: B023
            with pytest.raises(BatchError) as caught:
                refuse()
            assert caught.value.codes == [rpc_code.RESOURCE_EXHAUSTED]
            (said,) = caught.value.messages
            assert f"'EverythingIngress.{alias}': 16777216 cells, and one call may mean 1048576" in said
            assert said.endswith("name single cells by their index")
    last = register_cell(large, "wide_register", (1 << 24) - 1, b"\x07")
    client.write(modify(last))
    assert client.read(last) == [last]
    # another shape: what little there is in it is taken over
    smaller = large.config()
    smaller.p4_device_config = smaller.p4_device_config.replace(b"16777216", b"16777217")
    for element in (*smaller.p4info.registers, *smaller.p4info.counters):
        if element.size == 1 << 24:
            element.size += 1
    client.push(smaller, p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    assert client.read(last) == [last]


def test_wildcards_of_one_call_are_counted_together(
    client: Client, primary: Stream, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "MAX_CELLS", 20)
    of_register, of_counter = register_cell(names, "wide_register", None), counter_cell(names, None)
    assert len(client.read(of_register)) == 16 and len(client.read(of_counter)) == 8
    with pytest.raises(BatchError) as caught:
        client.read(of_register, of_counter, counter_cell(names, 1))
    assert caught.value.codes == [rpc_code.OK, rpc_code.RESOURCE_EXHAUSTED, rpc_code.OK]
    with pytest.raises(BatchError) as caught:
        client.read(p4r.Entity(register_entry=p4r.RegisterEntry()), of_register)
    assert caught.value.codes == [rpc_code.OK, rpc_code.RESOURCE_EXHAUSTED]


def test_entries_that_a_call_means_are_counted_together(
    client: Client, primary: Stream, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [exact_entry(names, tag, port=3) for tag in range(4)]
    client.write(*map(insert, entries))
    monkeypatch.setattr(allowance, "MAX_ENTRIES", 9)
    wildcard = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    counted = p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=wildcard.table_entry))
    answer = client.read(wildcard, counted, entries[0])
    assert answer[:4] == entries and len(answer) == 9
    with pytest.raises(BatchError) as caught:
        client.read(wildcard, counted, wildcard, entries[0])
    assert caught.value.codes == [rpc_code.OK, rpc_code.OK, rpc_code.RESOURCE_EXHAUSTED, rpc_code.OK]


def test_long_reads_are_answered_piece_by_piece(client: Client, primary: Stream, names: Names) -> None:
    entry = exact_entry(names, 1, port=3)
    client.write(insert(entry))
    unknown = exact_entry(names, 0x10000, port=3)
    answer: list[p4r.Entity] = []
    with pytest.raises(BatchError) as caught:
        for response in client.read_messages(*[entry, unknown] * 1500):
            answer += response.entities
    assert answer == [entry] * 1500
    assert caught.value.codes == [rpc_code.OK, rpc_code.INVALID_ARGUMENT] * 1500


def test_events_are_taken_piece_by_piece(device: Device) -> None:
    for tag in range(10):
        device.engine.process(1, message(1, tag=tag))
    taken: list[int] = []
    while select.select([device.engine.event_fd], [], [], 0)[0]:
        some = device.engine.read_events(3)
        assert len(some) <= 3
        taken += [event.values[0] for event in some if isinstance(event, DigestEvent)]
    assert taken == list(range(10))
    assert device.engine.read_events() == []


def test_others_are_answered_while_packet_ins_pour_in(
    client: Client, names: Names, switch: RunningSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many are passed on as come, and nothing is lost without a word."""
    monkeypatch.setattr(server, "STRETCH", 10)
    stream, count = client.primary(), 5000
    client.push(names.config())
    over = threading.Event()

    def pour() -> None:
        for tag in range(count):
            switch.engine.packet_out(b"\0\1" + message(2, tag=tag))
        over.set()

    with ThreadPoolExecutor() as pool, Client(switch.address) as other:
        pouring = pool.submit(pour)
        tags = []
        while len(tags) < count:
            tags.append(int.from_bytes(stream.receive().packet.payload[1:3], "big"))
            if len(tags) % 1000 == 1:
                assert len(other.read(counter_cell(names, 0))) == 1
        pouring.result(TIMEOUT)
    assert tags == list(range(count))
    stream.close()


def test_packet_ins_that_nobody_hears_are_counted(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    primary.close()
    with pytest.raises(grpc.RpcError):
        while True:  # until the switch has noticed
            client.write(insert(group(7, (1, 0))))
            client.write(delete(group(7)))
    caplog.set_level(logging.WARNING)
    for _ in range(100):
        switch.engine.packet_out(b"\0\1" + message(2))
    watcher = client.primary(11)
    switch.engine.packet_out(b"\0\1" + message(2))
    assert watcher.receive().WhichOneof("update") == "packet"
    said = [record.getMessage() for record in caplog.records if "no primary" in record.getMessage()]
    assert said[-1] == "64 packet-ins had no primary to go to so far"
    assert len(said) == 7, "with every doubling"
    watcher.close()


def test_digests_that_are_never_acknowledged_are_held_back_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MAX_UNACKNOWLEDGED", 100)
    lists = DigestLists()
    lists.enable(1, DigestConfig(max_list_size=1, ack_timeout_ns=1000 * SECOND))
    assert all(lists.add(1, (number,), 0) for number in range(100))
    assert lists.add(1, (0,), 0) is None
    assert lists.add(1, (100,), 0) is not None
    assert lists.add(1, (101,), 0) is not None
    assert lists.add(1, (0,), 0) is not None, "the oldest is reported again"
    assert lists.add(1, (101,), 0) is None


def test_lists_of_digests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MAX_LIST", 100)
    lists = DigestLists()
    lists.enable(1, DigestConfig(max_timeout_ns=1000 * SECOND))
    assert [number for number in range(250) if lists.add(1, (number,), 0)] == [99, 199]


def test_streams_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STREAMS", 2)
    one, two = client.primary(1), client.primary(2)
    three = client.stream()
    three.arbitrate(3)
    assert three.end_code() is EXHAUSTED
    assert one.arbitration() == (rpc_code.ALREADY_EXISTS, 2)
    one.close()
    two.close()


def test_roles_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arbitration, "MAX_ROLES", 3)
    agreed = arbitration.Arbitration(1)
    for role in ("", "a", "b"):
        agreed.update(role, 1, role, 1)
    with pytest.raises(P4RuntimeError, match="3 roles already") as caught:
        agreed.update("c", 1, "c", 1)
    assert caught.value.code is EXHAUSTED
    agreed.update("again", 1, "a", 2)
    with pytest.raises(P4RuntimeError, match="256 characters"):
        agreed.update("d", 1, "x" * 257, 1)


def test_what_waits_for_all_controllers_is_bounded() -> None:
    room = Room(1000)
    hog, other, third = (Session(room) for _ in range(3))
    assert [hog.offer(bytes(300), Loss.PACKET_IN) for _ in range(4)] == [True] * 3 + [False]
    assert [other.offer(bytes(300), Loss.PACKET_IN) for _ in range(2)] == [True, False], "one alone always"
    hog.end()
    hog.offer(bytes(300), Loss.PACKET_IN)
    assert [third.offer(bytes(300), Loss.PACKET_IN) for _ in range(3)] == [True] * 2 + [False]
    other.end()
    third.end()
    assert room.left == 1000


def test_log_lines_that_are_left_out_are_counted(program_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Engine(cache_dir=program_cache) as engine:
        engine.load((PROGRAMS / "unions.json").read_text())
        with caplog.at_level(logging.INFO, logger="softswitch.dataplane"):
            for second, packets in ((1, 60), (2, 1)):
                engine.freeze_clock(second * 10**6)
                for _ in range(packets):
                    engine.process(1, bytes([3, 7, 0]))
            engine.read_events()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["sending 3"] * 50 + ["10 lines were left out: at most 50 are written in a second", "sending 3"]
