"""RECONCILE_AND_COMMIT: reads and writes go on while the new program is compiled and loaded, and are in it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from finsy.proto import p4r
from grpc import StatusCode
from softswitch.p4runtime.device import Device, Verified
from softswitch.p4runtime.pipeline import Pipeline

from tests.softswitch.p4runtime.client import TIMEOUT, Client, Names, Stream, uint128
from tests.softswitch.p4runtime.entities import (
    default_entry,
    delete,
    exact_entry,
    group,
    insert,
    modify,
    register_cell,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

Set = p4r.SetForwardingPipelineConfigRequest
MANY = 10_000


def another(names: Names, size: int | None = None) -> p4r.ForwardingPipelineConfig:
    """The same program under another name, `exact_table` of another size."""
    program = json.loads(names.device_config)
    program["program"] = "another.p4"
    config = names.config()
    if size is not None:
        for pipeline in program["pipelines"]:
            for table in pipeline["tables"]:
                if table["name"].endswith(".exact_table"):
                    table["max_size"] = size
        next(t for t in config.p4info.tables if t.preamble.alias == "exact_table").size = size
    config.p4_device_config = json.dumps(program).encode()
    return config


class Held:
    """A program that is loaded only when it may: `during` is done before, while it has been compiled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        prepare = Device.prepare_reconcile

        def held(device: Device, verified: Verified) -> Pipeline | None:
            self.begun.set()
            assert self.go.wait(TIMEOUT)
            return prepare(device, verified)

        monkeypatch.setattr(Device, "prepare_reconcile", held)

    def push(self, client: Client, config: p4r.ForwardingPipelineConfig, during: Callable[[], None]) -> StatusCode:
        """How a push ends."""
        request = Set(device_id=1, action=Set.RECONCILE_AND_COMMIT, config=config, election_id=uint128(10))
        pushed = client.stub.SetForwardingPipelineConfig.future(request, timeout=TIMEOUT)
        assert self.begun.wait(TIMEOUT)
        during()
        assert not pushed.done()
        self.go.set()
        code: StatusCode = pushed.code()
        return code


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.go.set()


def test_what_is_written_meanwhile_is_in_the_new_program(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, held: Held
) -> None:
    client.write(*(insert(exact_entry(names, tag, port=3)) for tag in range(3)))
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    default = default_entry(names, "keyless_table", "forward", b"\x07")

    def during() -> None:
        client.write(insert(exact_entry(names, 3, port=4)), delete(exact_entry(names, 0, port=3)))
        client.write(modify(exact_entry(names, 1, port=5)), modify(default), insert(group(7, (1, 0))))
        client.write(modify(register_cell(names, "wide_register", 2, b"\x07")))
        with pytest.raises(Exception, match="no such entry"):
            client.write(delete(exact_entry(names, 9, port=3)))
        assert [e.table_entry.match[0].exact.value for e in client.read(everything)] == [b"\1", b"\2", b"\3"]
        # the running program has it at once
        assert switch.engine.process(1, message(0, tag=3)) == [(4, message(0, tag=3))]

    assert held.push(client, another(names), during) is StatusCode.OK
    assert client.config() == another(names)
    for tag, ports in ((0, [0]), (1, [5]), (2, [3]), (3, [4])):
        assert [port for port, _ in switch.engine.process(1, message(0, tag=tag))] == ports
    assert {e.table_entry.match[0].exact.value for e in client.read(everything)} == {b"\1", b"\2", b"\3"}
    keyless = p4r.TableEntry(table_id=names["keyless_table"], is_default_action=True)
    assert client.read(p4r.Entity(table_entry=keyless), group(0)) == [default, group(7, (1, 0))]
    cell = register_cell(names, "wide_register", 2, b"\x07")
    assert client.read(register_cell(names, "wide_register", 2)) == [cell]


def test_a_write_meanwhile_that_the_new_program_cannot_take_refuses_it(
    client: Client, primary: Stream, names: Names, switch: RunningSwitch, held: Held
) -> None:
    client.write(insert(exact_entry(names, 1, port=3)))

    def during() -> None:
        client.write(insert(exact_entry(names, 2, port=4)))

    before = client.config()
    assert held.push(client, another(names, size=1), during) is StatusCode.INVALID_ARGUMENT
    assert client.config() == before
    assert switch.engine.process(1, message(0, tag=2)) == [(4, message(0, tag=2))]
    client.push(another(names), Set.RECONCILE_AND_COMMIT)
    assert switch.engine.process(1, message(0, tag=2)) == [(4, message(0, tag=2))]


def test_a_controller_that_is_primary_no_longer_commits_nothing(
    client: Client, primary: Stream, names: Names, held: Held
) -> None:
    before = client.config()
    assert held.push(client, another(names), lambda: client.primary(11).close()) is StatusCode.PERMISSION_DENIED
    assert client.config() == before


@pytest.mark.parametrize("count", [1, MANY])
def test_any_number_of_writes_meanwhile(client: Client, primary: Stream, names: Names, held: Held, count: int) -> None:
    client.push(another(names, size=MANY))
    entries = [exact_entry(names, tag, port=3) for tag in range(count)]
    large = another(names, size=MANY + 1)

    def during() -> None:
        for first in range(0, count, 1000):
            client.write(*map(insert, entries[first : first + 1000]))
        assert client.read(entries[0]) == [entries[0]]

    assert held.push(client, large, during) is StatusCode.OK
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    assert len(client.read(everything)) == count


def test_pushes_wait_for_one_another(client: Client, primary: Stream, names: Names, held: Held) -> None:
    request = Set(device_id=1, action=Set.VERIFY_AND_COMMIT, config=names.config(cookie=7), election_id=uint128(10))
    second: list[grpc.Future] = []

    def during() -> None:
        second.append(client.stub.SetForwardingPipelineConfig.future(request, timeout=TIMEOUT))
        # it has reached the switch before this, and waits there
        client.read(p4r.Entity(table_entry=p4r.TableEntry()))
        assert not second[0].done()

    assert held.push(client, another(names), during) is StatusCode.OK
    second[0].result()
    assert client.config() == names.config(cookie=7)
