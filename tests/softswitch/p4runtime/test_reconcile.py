"""RECONCILE_AND_COMMIT holds nobody up: reads and writes go on while the new program is filled, and are in it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from finsy.proto import p4r
from grpc import StatusCode
from softswitch.p4runtime.reconcile import BATCH, FEW, Reconciliation

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
    """A fill that waits: `during` is done between its beginning and its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        fill = Reconciliation.fill

        def held(reconciliation: Reconciliation) -> None:
            self.begun.set()
            assert self.go.wait(TIMEOUT)
            fill(reconciliation)

        monkeypatch.setattr(Reconciliation, "fill", held)

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


@pytest.mark.parametrize("count", [1, FEW + 1, 3 * BATCH])
def test_any_number_of_writes_meanwhile(client: Client, primary: Stream, names: Names, held: Held, count: int) -> None:
    client.push(another(names, size=MANY))
    entries = [exact_entry(names, tag, port=3) for tag in range(count)]
    large = another(names, size=MANY + 1)
    assert held.push(client, large, lambda: client.write(*map(insert, entries))) is StatusCode.OK
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    assert len(client.read(everything)) == count


def test_reads_and_writes_go_on_while_many_entries_are_filled_in(
    client: Client, primary: Stream, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the order of what happens: several of both begin and end between the fill's beginning and its end."""
    happened: list[str] = []
    fill = Reconciliation.fill

    def watched(reconciliation: Reconciliation) -> None:
        happened.append("fill begins")
        fill(reconciliation)
        happened.append("fill ends")

    monkeypatch.setattr(Reconciliation, "fill", watched)
    client.push(another(names, size=MANY + 1))
    entries = [exact_entry(names, 1 + tag, port=3) for tag in range(MANY)]
    for first in range(0, MANY, 1000):
        client.write(*map(insert, entries[first : first + 1000]))
    request = Set(device_id=1, action=Set.RECONCILE_AND_COMMIT, election_id=uint128(10))
    request.config.CopyFrom(another(names, size=MANY + 2))
    pushed = client.stub.SetForwardingPipelineConfig.future(request, timeout=TIMEOUT)
    extra = exact_entry(names, 0, port=4)
    while not pushed.done():
        for what, do in (("insert", insert), ("delete", delete)):
            happened.append(f"{what} begins")
            client.write(do(extra))
            happened.append(f"{what} ends")
        happened.append("read begins")
        assert client.read(entries[7]) == [entries[7]]
        happened.append("read ends")
    assert pushed.code() is StatusCode.OK
    meanwhile = happened[happened.index("fill begins") : happened.index("fill ends")]
    assert min(meanwhile.count("insert ends"), meanwhile.count("delete ends"), meanwhile.count("read ends")) >= 2
    everything = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))
    assert len(client.read(everything)) == MANY


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
