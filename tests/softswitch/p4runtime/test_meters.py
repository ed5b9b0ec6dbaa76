"""Meters (specification, "MeterEntry & DirectMeterEntry" and "Direct Resources"), on each target.

Most have a rate of zero, so that what they mark does not depend on how fast packets come.
"""

from __future__ import annotations

import pytest
from finsy.proto import p4r, rpc_code
from softswitch.p4runtime import p4info
from softswitch.p4runtime.entities.meter_config import decode_meter, encode_meter
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.schema import MeterKind

from tests.softswitch.p4runtime.client import BatchError, Names
from tests.softswitch.p4runtime.entities import action, delete, insert, modify, number
from tests.softswitch.p4runtime.targets import Target

GREEN, YELLOW, RED = range(3)
Config = tuple[int, int, int, int]


def config(numbers: Config) -> p4r.MeterConfig:
    """cir, cburst, pir, pburst."""
    cir, cburst, pir, pburst = numbers
    return p4r.MeterConfig(cir=cir, cburst=cburst, pir=pir, pburst=pburst)


def cell(names: Names, alias: str, index: int | None, numbers: Config | None = None) -> p4r.Entity:
    """A cell of an indirect meter, or all."""
    made = p4r.MeterEntry(meter_id=names[alias])
    if index is not None:
        made.index.index = index
    if numbers is not None:
        made.config.CopyFrom(config(numbers))
    return p4r.Entity(meter_entry=made)


def entry(names: Names, key: int, numbers: Config | None = None, bare: bool = False) -> p4r.Entity:
    """An entry of `metered`, with its meter; `bare` is without an action."""
    made = p4r.TableEntry(table_id=names["metered"])
    made.match.add(field_id=1).exact.value = number(key)
    if not bare:
        made.action.CopyFrom(action(names, "mark", number(9)))
    if numbers is not None:
        made.meter_config.CopyFrom(config(numbers))
    return p4r.Entity(table_entry=made)


def own(names: Names, key: int, numbers: Config | None = None) -> p4r.Entity:
    """The direct meter of an entry."""
    made = p4r.DirectMeterEntry(table_entry=entry(names, key, bare=True).table_entry)
    if numbers is not None:
        made.config.CopyFrom(config(numbers))
    return p4r.Entity(direct_meter_entry=made)


def colours(target: Target, which: int, key: int, count: int, length: int = 2) -> list[int]:
    """How packets that come at once are marked."""
    outputs = target.exchange([bytes([which, key]) + bytes(length - 2)] * count)
    return [data[2] for ((_, data),) in outputs]


@pytest.fixture
def names(target: Target) -> Names:
    """The program `metered`, just pushed."""
    return target.push("metered")


def test_a_packet_meter(target: Target, names: Names) -> None:
    assert colours(target, 1, 2, 3) == [GREEN] * 3
    target.client.write(modify(cell(names, "by_packets", 2, (0, 2, 0, 5))))
    assert colours(target, 1, 2, 8) == [GREEN] * 2 + [YELLOW] * 3 + [RED] * 3
    assert colours(target, 1, 1, 8) == [GREEN] * 8
    target.client.write(modify(cell(names, "by_packets", 2)))
    assert colours(target, 1, 2, 8) == [GREEN] * 8


def test_a_byte_meter(target: Target, names: Names) -> None:
    target.client.write(modify(cell(names, "by_bytes", 3, (0, 250, 0, 450))))
    assert colours(target, 2, 3, 6, length=100) == [GREEN] * 2 + [YELLOW] * 2 + [RED] * 2


def test_a_full_rate_is_green(target: Target, names: Names) -> None:
    target.client.write(modify(cell(names, "by_packets", 0, (10**9, 10**6, 10**9, 10**6))))
    assert colours(target, 1, 0, 40) == [GREEN] * 40


def test_configurations_read_as_written(target: Target, names: Names) -> None:
    written = cell(names, "by_bytes", 1, (1000, 2000, 3000, 4000))
    target.client.write(modify(written))
    assert target.client.read(cell(names, "by_bytes", 1)) == [written]
    assert target.client.read(cell(names, "by_bytes", None)) == [
        cell(names, "by_bytes", 0),
        written,
        cell(names, "by_bytes", 2),
        cell(names, "by_bytes", 3),
    ]
    everything = target.client.read(p4r.Entity(meter_entry=p4r.MeterEntry()))
    assert len(everything) == 8 and written in everything
    target.client.write(modify(cell(names, "by_bytes", 1)))
    assert target.client.read(cell(names, "by_bytes", 1)) == [cell(names, "by_bytes", 1)]


def test_meters_are_only_modified(target: Target, names: Names) -> None:
    target.client.write(insert(entry(names, 7)))
    for entity in (cell(names, "by_bytes", 1, (1, 1, 1, 1)), own(names, 7, (1, 1, 1, 1))):
        assert target.refusal(insert(entity)) == rpc_code.INVALID_ARGUMENT
        assert target.refusal(delete(entity)) == rpc_code.INVALID_ARGUMENT
    assert target.refusal(modify(cell(names, "by_bytes", -1, (1, 1, 1, 1)))) == rpc_code.INVALID_ARGUMENT


def test_a_direct_meter(target: Target, names: Names) -> None:
    target.client.write(insert(entry(names, 7, (0, 1, 0, 3))), insert(entry(names, 8)))
    assert colours(target, 3, 7, 5) == [GREEN, YELLOW, YELLOW, RED, RED]
    assert colours(target, 3, 8, 5) == [GREEN] * 5
    target.client.write(modify(own(names, 7, (0, 2, 0, 3))))
    assert colours(target, 3, 7, 5) == [GREEN, GREEN, YELLOW, RED, RED]
    target.client.write(modify(own(names, 7)))
    assert colours(target, 3, 7, 5) == [GREEN] * 5


def test_a_direct_meter_reads_as_written(target: Target, names: Names) -> None:
    numbers = (10, 20, 30, 40)
    target.client.write(insert(entry(names, 7, numbers)), insert(entry(names, 8)))
    wanted = p4r.TableEntry(table_id=names["metered"])
    assert entry(names, 7) in target.client.read(p4r.Entity(table_entry=wanted))
    wanted.meter_config.SetInParent()
    found = target.client.read(p4r.Entity(table_entry=wanted))
    assert sorted(map(str, found)) == sorted(map(str, [entry(names, 7, numbers), entry(names, 8)]))
    for key, written in ((7, numbers), (8, None)):
        (read,) = target.client.read(own(names, key))
        assert read.direct_meter_entry.config == config(written or (0, 0, 0, 0))
        assert read.direct_meter_entry.HasField("config") == (written is not None)
    assert len(target.client.read(p4r.Entity(direct_meter_entry=p4r.DirectMeterEntry(table_entry=wanted)))) == 2


def test_modifying_an_entry_resets_its_meter(softswitch: Target) -> None:
    """What the specification says of an unset `meter_config`. BMv2 leaves the meter as it is."""
    names = softswitch.push("metered")
    softswitch.client.write(insert(entry(names, 7, (0, 0, 0, 0))))
    assert colours(softswitch, 3, 7, 1) == [RED]
    softswitch.client.write(modify(entry(names, 7)))
    assert colours(softswitch, 3, 7, 1) == [GREEN]
    softswitch.client.write(modify(entry(names, 7, (0, 0, 0, 0), bare=True)))
    assert colours(softswitch, 3, 7, 1) == [RED]


def test_what_is_wrong_is_refused(softswitch: Target) -> None:
    names = softswitch.push("metered")
    softswitch.client.write(insert(entry(names, 7)))
    ageing = p4r.TableEntry(table_id=names["ageing"], priority=1, action=action(names, "answer", number(1)))
    ageing.meter_config.SetInParent()
    marked = cell(names, "by_bytes", 0, (1, 1, 1, 1))
    marked.meter_entry.counter_data.green.packet_count = 1
    default = p4r.TableEntry(table_id=names["metered"], is_default_action=True, meter_config=config((1, 1, 1, 1)))
    refusals = {
        "negative rate": (modify(cell(names, "by_bytes", 0, (-1, 1, 1, 1))), rpc_code.INVALID_ARGUMENT),
        "peak below committed": (modify(cell(names, "by_bytes", 0, (2, 1, 1, 1))), rpc_code.INVALID_ARGUMENT),
        "no such cell": (modify(cell(names, "by_bytes", 4, (1, 1, 1, 1))), rpc_code.OUT_OF_RANGE),
        "no such entry": (modify(own(names, 8, (1, 1, 1, 1))), rpc_code.NOT_FOUND),
        "no meter": (insert(p4r.Entity(table_entry=ageing)), rpc_code.INVALID_ARGUMENT),
        "counts that are not zero": (modify(marked), rpc_code.INVALID_ARGUMENT),
        "default entry": (modify(p4r.Entity(table_entry=default)), rpc_code.UNIMPLEMENTED),
    }
    for name, (update, code) in refusals.items():
        assert softswitch.refusal(update) == code, name


def test_counts_by_colour(softswitch: Target) -> None:
    """BMv2 has none."""
    names = softswitch.push("metered")
    softswitch.client.write(modify(cell(names, "by_packets", 1, (0, 1, 0, 3))), insert(entry(names, 7, (0, 1, 0, 3))))
    colours(softswitch, 1, 1, 6, length=10)
    colours(softswitch, 3, 7, 6, length=10)
    green, yellow, red = ((1, 10), (2, 20), (3, 30))

    def counts(data: p4r.MeterCounterData) -> list[tuple[int, int]]:
        return [(c.packet_count, c.byte_count) for c in (data.green, data.yellow, data.red)]

    indirect, direct, through_entry = cell(names, "by_packets", 1), own(names, 7), entry(names, 7, bare=True)
    assert not softswitch.client.read(indirect)[0].meter_entry.HasField("counter_data")
    indirect.meter_entry.counter_data.SetInParent()
    direct.direct_meter_entry.counter_data.SetInParent()
    through_entry.table_entry.meter_counter_data.SetInParent()

    def read() -> list[list[tuple[int, int]]]:
        one, two, three = softswitch.client.read(indirect, direct, through_entry)
        data = one.meter_entry.counter_data, two.direct_meter_entry.counter_data, three.table_entry.meter_counter_data
        return [counts(d) for d in data]

    assert read() == [[green, yellow, red]] * 3
    direct.direct_meter_entry.config.CopyFrom(config((0, 1, 0, 3)))
    softswitch.client.write(modify(indirect), modify(direct))
    assert read() == [[(0, 0)] * 3] * 3
    assert colours(softswitch, 1, 1, 2) == [GREEN, GREEN], "without a configuration it is reset"


@pytest.mark.parametrize("fails", [False, True])
def test_a_batch_with_meters_is_whole_or_nothing(softswitch: Target, fails: bool) -> None:
    names = softswitch.push("metered")
    softswitch.client.write(insert(entry(names, 7, (0, 0, 0, 0))))
    updates = [modify(entry(names, 7)), modify(own(names, 7, (0, 1, 0, 2))), insert(entry(names, 8, (0, 0, 0, 0)))]
    if fails:
        with pytest.raises(BatchError):
            softswitch.client.write(*updates, insert(entry(names, 8)), atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    else:
        softswitch.client.write(*updates, atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert colours(softswitch, 3, 7, 2) == ([RED, RED] if fails else [GREEN, YELLOW])
    assert colours(softswitch, 3, 8, 1) == ([3] if fails else [RED])


def test_meters_survive_a_reconciliation(softswitch: Target) -> None:
    names = softswitch.push("metered")
    softswitch.client.write(modify(cell(names, "by_packets", 1, (0, 0, 0, 0))), insert(entry(names, 7, (0, 0, 0, 0))))
    pushed = names.config()
    pushed.p4_device_config += b"\n"
    softswitch.client.push(pushed, action=p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    assert colours(softswitch, 1, 1, 1) == colours(softswitch, 3, 7, 1) == [RED]
    assert colours(softswitch, 1, 2, 1) == [GREEN]


def test_single_rate_meters() -> None:
    """p4c sets the type by annotation; what may be configured follows it."""
    single = p4r.MeterConfig(cir=5, cburst=6, pir=5, pburst=6)
    excess = p4r.MeterConfig(cir=5, cburst=6, pir=5, pburst=6, eburst=7)
    double = p4r.MeterConfig(cir=5, cburst=6, pir=7, pburst=8)
    accepted = {
        MeterKind.TWO_RATE_THREE_COLOR: [single, double],
        MeterKind.SINGLE_RATE_THREE_COLOR: [single, excess],
        MeterKind.SINGLE_RATE_TWO_COLOR: [single],
    }
    for kind, configs in accepted.items():
        for message in (single, excess, double):
            if message in configs:
                assert encode_meter(decode_meter(kind, message, "m")) == message
            else:
                with pytest.raises(P4RuntimeError):
                    decode_meter(kind, message, "m")


def test_a_meter_of_another_unit_is_refused(softswitch: Target) -> None:
    names = Names.of("metered")
    pushed = names.config()
    pushed.p4info.meters[0].spec.unit = p4info.p4i.MeterSpec.BYTES
    with pytest.raises(Exception, match="another unit in the program"):
        softswitch.client.push(pushed)
