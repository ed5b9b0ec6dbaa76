"""The engine's interface: operations and their errors, counters, registers, replication, events, clock, compilation."""

from __future__ import annotations

import json
import logging
import select
import struct
from pathlib import Path

import pytest
from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import Compiler, CompilerMissing
from softswitch.engine.engine import Engine
from softswitch.entries import (
    DigestEvent,
    ErrorKind,
    Exact,
    Lpm,
    MatchKey,
    Operation,
    Optional,
    PacketInEvent,
    Range,
    TableOperation,
    Ternary,
)

from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.builder import ProgramBuilder, assign, primitive, send_to
from tests.softswitch.native.conftest import CPU_PORT
from tests.softswitch.native.traffic import internet_checksum

MANAGED, ROUTES, ANSWER, WIDE, NOTHING = "I.managed", "I.routes", "I.answer", "I.wide", "I.nothing"
KEY: tuple[MatchKey, ...] = (Exact(1), Ternary(0x0200, 0xFF00), Lpm(0x0A000000, 8), Optional(None))


def load(engine: Engine, name: str) -> None:
    """Loads one of the test programs."""
    engine.load((PROGRAMS / f"{name}.json").read_text())


def managed(engine: Engine, a: int = 1, b: int = 0x0234, c: int = 0x0A010203, d: int = 0) -> tuple[int, int]:
    """The answer of table `managed` and how it was reached (3 answer, 4 wide, 5 nothing)."""
    ((_, data),) = engine.process(1, struct.pack(">BBHI", 5, a, b, c) + d.to_bytes(16, "big"))
    result, how = struct.unpack(">IB", data[24:29])
    return result, how


def insert(
    key: tuple[MatchKey, ...] = KEY, priority: int = 10, action: str = ANSWER, *parameters: int
) -> TableOperation:
    """An insertion into table `managed`."""
    return TableOperation(Operation.INSERT, MANAGED, key, priority, action, parameters)


def do(engine: Engine, operation: TableOperation) -> ErrorKind | None:
    """One operation; the kind of its error."""
    (error,) = engine.apply([operation])
    return error.kind if error else None


def test_entry_life(engine: Engine) -> None:
    load(engine, "matching")
    assert managed(engine) == (50, 3)
    assert do(engine, insert(KEY, 10, ANSWER, 7)) is None
    assert managed(engine) == (7, 3)
    assert do(engine, insert(KEY, 10, ANSWER, 8)) is ErrorKind.ALREADY_EXISTS
    assert do(engine, insert(KEY, 20, WIDE, 1 << 127 | 9)) is None
    assert managed(engine) == (1 << 31 ^ 9, 4)
    assert do(engine, TableOperation(Operation.MODIFY, MANAGED, KEY, 20, NOTHING)) is None
    assert managed(engine) == (0, 5)
    assert do(engine, TableOperation(Operation.DELETE, MANAGED, KEY, 20)) is None
    assert managed(engine) == (7, 3)
    assert do(engine, TableOperation(Operation.DELETE, MANAGED, KEY, 20)) is ErrorKind.NOT_FOUND
    assert managed(engine, b=0x0334) == (50, 3)


def test_default_action(engine: Engine) -> None:
    load(engine, "matching")
    assert do(engine, TableOperation(Operation.SET_DEFAULT, MANAGED, action=ANSWER, parameters=(51,))) is None
    assert managed(engine) == (51, 3)
    assert do(engine, TableOperation(Operation.RESET_DEFAULT, MANAGED)) is None
    assert managed(engine) == (50, 3)


BAD: list[tuple[TableOperation, ErrorKind, str]] = [
    (TableOperation(Operation.INSERT, "I.no_such"), ErrorKind.NOT_FOUND, "I.no_such"),
    (insert(KEY, 10, "I.no_such"), ErrorKind.INVALID_ARGUMENT, "no action 'I.no_such'"),
    (insert(KEY, 10, ANSWER), ErrorKind.INVALID_ARGUMENT, "takes 1 parameters, not 0"),
    (insert(KEY, 10, ANSWER, 1 << 32), ErrorKind.INVALID_ARGUMENT, "value of I.answer: 4294967296"),
    (insert(KEY, 0, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "priority"),
    (insert(KEY[:3], 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "has 4 fields, not 3"),
    (insert((Exact(256), *KEY[1:]), 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "256 does not fit 8 bits"),
    (insert((Lpm(1, 8), *KEY[1:]), 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "Lpm for a match of kind exact"),
    (insert((KEY[0], Ternary(0xFFFF, 0xFF00), *KEY[2:]), 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "outside its mask"),
    (insert((*KEY[:2], Lpm(1, 33), KEY[3]), 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "prefix length 33"),
    (insert((KEY[0], Range(1, 2), *KEY[2:]), 1, ANSWER, 1), ErrorKind.INVALID_ARGUMENT, "Range"),
    (TableOperation(Operation.INSERT, ROUTES, (Lpm(0, 0),), 3, NOTHING), ErrorKind.INVALID_ARGUMENT, "no priority"),
    (TableOperation(Operation.INSERT, "I.prefix", (Lpm(0, 0), Exact(0)), 0, ANSWER, (1,)),
     ErrorKind.PERMISSION_DENIED, "const"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "kind", "words"), BAD)
def test_refused_operations(engine: Engine, operation: TableOperation, kind: ErrorKind, words: str) -> None:
    load(engine, "matching")
    before, error, after = engine.apply([insert(KEY, 1, ANSWER, 1), operation, insert(KEY, 2, ANSWER, 2)])
    assert before is None and after is None, "the rest of the batch is done"
    assert error is not None and error.kind is kind and words in error.message
    assert managed(engine) == (2, 3)


def test_table_size(engine: Engine) -> None:
    load(engine, "matching")
    errors = engine.apply([insert((Exact(i), *KEY[1:]), 1, ANSWER, i) for i in range(65)])
    assert errors[:64] == [None] * 64
    assert errors[64] is not None and errors[64].kind is ErrorKind.RESOURCE_EXHAUSTED


def test_direct_counters(engine: Engine) -> None:
    load(engine, "matching")
    engine.apply([insert(KEY, 10, ANSWER, 7), insert((Exact(2), *KEY[1:]), 10, ANSWER, 7)])
    managed(engine)
    managed(engine)
    managed(engine, a=3)
    other = (Exact(9), *KEY[1:])
    assert engine.read_direct_counters(MANAGED, [(KEY, 10), ((Exact(2), *KEY[1:]), 10), (other, 10)]) == [
        (2, 48),
        (0, 0),
        None,
    ]
    engine.write_direct_counter(MANAGED, KEY, 10, 100, 2**40)
    managed(engine)
    assert engine.read_direct_counters(MANAGED, [(KEY, 10)]) == [(101, 2**40 + 24)]
    with pytest.raises(KeyError):
        engine.write_direct_counter(MANAGED, other, 10, 1, 1)
    with pytest.raises(KeyError):
        engine.read_direct_counters(ROUTES, [])


def state_packet(op: int, index: int = 0, value: int = 0) -> bytes:
    """A packet of program `state`."""
    return struct.pack(">BI", op, index) + value.to_bytes(6, "big") + b"\0"


def test_registers(engine: Engine) -> None:
    load(engine, "state")
    engine.write_register("I.cells", 3, 2**48 - 1)
    engine.process(1, state_packet(1, 4, 99))
    assert engine.read_registers("I.cells", 2, 3) == [0, 2**48 - 1, 99]
    engine.process(1, state_packet(2, 1, 5))
    engine.process(1, state_packet(2, 1, 6))
    assert engine.read_registers("I.wides", 0, 4) == [0, 5 << 40 | 6, 0, 0]
    engine.write_register("I.wides", 0, 2**100 - 1)
    assert engine.read_registers("I.wides", 0, 1) == [2**100 - 1]
    for wrong in (lambda: engine.read_registers("I.cells", 15, 2), lambda: engine.write_register("I.cells", 16, 0)):
        with pytest.raises(IndexError):
            wrong()
    with pytest.raises(ValueError, match="does not fit 48 bits"):
        engine.write_register("I.cells", 0, 2**48)
    with pytest.raises(KeyError):
        engine.read_registers("I.no_such", 0, 1)


def test_access_out_of_range_is_ignored_and_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    load(engine, "state")
    with caplog.at_level(logging.ERROR):
        ((_, data),) = engine.process(1, state_packet(1, 16, 5))
        engine.process(1, state_packet(3, 2**32 - 1))
        engine.read_events()
    wide = int.from_bytes(data[20:33], "big") >> 4
    assert wide == 0xDEAD, "the target of the read keeps its value"
    assert engine.read_registers("I.cells", 0, 16) == [0] * 16
    assert engine.read_counters("I.seen", 0, 8) == [(0, 0)] * 8
    assert "I.cells" in caplog.text and "out-of-bounds index 16" in caplog.text and "4294967295" in caplog.text


def test_counters(engine: Engine) -> None:
    load(engine, "state")
    for length in (0, 10):
        engine.process(1, state_packet(3, 5) + bytes(length))
    assert engine.read_counters("I.seen", 4, 3) == [(0, 0), (2, 34), (0, 0)]
    engine.write_counter("I.seen", 5, 1, 2)
    assert engine.read_counters("I.seen", 5, 1) == [(1, 2)]


def test_random_stays_in_range(engine: Engine) -> None:
    load(engine, "state")
    drawn = set()
    for _ in range(400):
        ((_, data),) = engine.process(1, state_packet(5, 10, 13))
        drawn.add(int.from_bytes(data[12:20], "big"))
    assert drawn == {10, 11, 12, 13}
    ((_, data),) = engine.process(1, state_packet(5, 13, 13))
    assert int.from_bytes(data[12:20], "big") == 13


def test_log_and_assert(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    load(engine, "state")
    with caplog.at_level(logging.INFO, logger="softswitch.dataplane"):
        engine.process(1, state_packet(7, 12, 34))
        assert len(engine.process(1, state_packet(8, 4))) == 1
        assert engine.process(1, state_packet(8, 3)) == [], "a failed assert drops the packet"
        assert len(engine.process(1, state_packet(8, 4))) == 1
        engine.read_events()
    assert "index 12 of 34" in caplog.text
    assert "assert failed" in caplog.text and "state.p4:" in caplog.text


def test_digest_event(engine: Engine) -> None:
    load(engine, "copies")
    assert not select.select([engine.event_fd], [], [], 0)[0]
    engine.process(257, struct.pack(">BBH", 5, 200, 0))
    assert select.select([engine.event_fd], [], [], 0)[0]
    assert engine.read_events() == [DigestEvent("seen_t", (200, 257, 0xABCDEF123456))]
    assert engine.read_events() == []
    assert not select.select([engine.event_fd], [], [], 0)[0]


def test_events_beyond_the_ring_are_counted(engine: Engine) -> None:
    load(engine, "copies")
    packet = struct.pack(">BBH", 3, 0, 7) + bytes(60000)
    engine.set_multicast_group(7, [(CPU_PORT, i) for i in range(200)])
    engine.packet_out(packet)
    events = engine.read_events()
    assert engine.lost_events.packet_ins == 200 - len(events) > 0
    assert all(isinstance(e, PacketInEvent) and len(e.data) > 60000 for e in events)


def test_packet_out_and_in(engine: Engine) -> None:
    load(engine, "copies")
    engine.set_multicast_group(9, [(CPU_PORT, 1)])
    engine.packet_out(struct.pack(">BBH", 3, 0, 9) + b"hello")
    (event,) = engine.read_events()
    assert isinstance(event, PacketInEvent) and event.data.endswith(b"hello")
    ingress_port, egress_port = struct.unpack(">HH", event.data[4:8])
    assert (ingress_port, egress_port) == (CPU_PORT, CPU_PORT)


def test_clone_session_truncates(engine: Engine) -> None:
    load(engine, "copies")
    engine.set_clone_session(5, [(6, 1)], packet_length=10)
    outputs = engine.process(1, struct.pack(">BBH", 10, 5, 0) + bytes(50))
    assert [(port, len(data)) for port, data in outputs] == [(6, 10)]
    engine.delete_clone_session(5)
    assert engine.process(1, struct.pack(">BBH", 10, 5, 0)) == []
    with pytest.raises(KeyError):
        engine.delete_clone_session(5)


def test_multicast_group_replaced_and_deleted(engine: Engine) -> None:
    load(engine, "copies")
    packet = struct.pack(">BBH", 3, 0, 1)
    engine.set_multicast_group(1, [(2, 0), (3, 0)])
    assert sorted(p for p, _ in engine.process(1, packet)) == [2, 3]
    engine.set_multicast_group(1, [(4, 0)])
    assert [p for p, _ in engine.process(1, packet)] == [4]
    engine.delete_multicast_group(1)
    assert engine.process(1, packet) == []
    for group in (1, 0, 65536):
        with pytest.raises(KeyError):
            engine.delete_multicast_group(group)


def test_a_packet_that_goes_round_for_ever_is_dropped(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    program = json.loads((PROGRAMS / "copies.json").read_text())
    resubmit = next(p for a in program["actions"] for p in a["primitives"] if p["op"] == "resubmit")
    resubmit["parameters"][0]["value"] = "0x3"
    # there is no field list 3: nothing survives, the count of rounds neither
    engine.load(json.dumps(program))
    assert engine.process(1, struct.pack(">BBH", 2, 5, 0)) == []
    with caplog.at_level(logging.ERROR):
        engine.read_events()
    assert "dropped" in caplog.text
    assert len(engine.process(1, struct.pack(">BBH", 0, 5, 0))) == 1


def test_clock(engine: Engine) -> None:
    first = engine.clock_us()
    assert first < 60_000_000
    assert engine.clock_us() >= first
    engine.freeze_clock(123)
    assert engine.clock_us() == 123
    engine.freeze_clock(None)
    assert first <= engine.clock_us() < 60_000_000


def test_loading_clears_state_and_keeps_replication(engine: Engine) -> None:
    load(engine, "state")
    engine.write_register("I.cells", 3, 7)
    engine.set_multicast_group(1, [(2, 0)])
    load(engine, "state")
    assert engine.read_registers("I.cells", 3, 1) == [0]
    load(engine, "copies")
    assert [p for p, _ in engine.process(1, struct.pack(">BBH", 3, 0, 1))] == [2]


def test_a_refused_program_leaves_the_running_one(engine: Engine) -> None:
    load(engine, "state")
    engine.write_register("I.cells", 3, 7)
    program = json.loads((PROGRAMS / "state.json").read_text())
    program["extern_instances"] = [{"name": "m"}]
    for attempt in (engine.load, engine.verify):
        with pytest.raises(UnsupportedProgram, match="extern 'm'"):
            attempt(json.dumps(program))
    assert engine.read_registers("I.cells", 3, 1) == [7]


def test_without_program(engine: Engine) -> None:
    assert engine.program is None
    for attempt in (lambda: engine.process(1, b"x"), lambda: engine.apply([]), lambda: engine.packet_out(b"")):
        with pytest.raises(RuntimeError, match="no program"):
            attempt()


def test_close_twice() -> None:
    engine = Engine()
    engine.start()
    engine.close()
    engine.close()
    for attempt in (engine.read_events, engine.ports, engine.clock_us, lambda: engine.event_fd, engine.start):
        with pytest.raises(RuntimeError, match="closed"):
            attempt()


def test_compiler_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerMissing, match="apt install gcc"):
        Engine(cache_dir=tmp_path / "empty")


def test_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(tmp_path, flags=("-O0",))
    with Engine(compiler=compiler) as engine:
        load(engine, "copies")
    monkeypatch.setenv("PATH", str(tmp_path))
    with Engine(compiler=compiler) as engine:
        load(engine, "copies")
        with pytest.raises(CompilerMissing):
            load(engine, "state")


def test_packet_limit(engine: Engine) -> None:
    load(engine, "copies")
    ((_, data),) = engine.process(1, bytes(65536))
    assert len(data) == 65536 + 17
    with pytest.raises(ValueError, match="65537 bytes"):
        engine.process(1, bytes(65537))
    assert engine.process(1, b"") != []


def test_a_stack_of_unions_moves_as_a_whole(engine: Engine) -> None:
    """P4-16, 8.18. In BMv2 the element that is pushed out comes in again at the other end."""
    load(engine, "unions")
    one, two, three = b"\1\x11", b"\2\x22\x22\x22\x22", b"\3\1\x33\xee"
    for op, left in ((16, one + two), (17, two + three)):
        ((_, data),) = engine.process(1, bytes([op, 4, 3]) + one + two + three)
        assert data[5:] == left


def test_a_checksum_over_signed_fields(engine: Engine) -> None:
    builder = ProgramBuilder([("a", 9, True), ("b", 7, True), ("c", 100, True), ("d", 12), ("sum", 16)])
    builder.action("go", [send_to()])
    inputs = [{"type": "field", "value": ["in", name]} for name in "abcd"]
    builder.root["calculations"] = [{"name": "all", "id": 0, "algo": "csum16", "input": inputs}]
    checksum = {"name": "made", "id": 0, "target": ["in", "sum"], "type": "generic", "calculation": "all"}
    builder.root["checksums"] = [checksum | {"verify": False, "update": True, "if_cond": None}]
    engine.load(builder.text())
    for packet in (b"\xff" * 16, b"\x80\0" * 8, bytes(range(0x91, 0xA1))):
        expected = packet + internet_checksum(packet).to_bytes(2, "big")
        assert engine.process(1, packet + b"\0\0") == [(1, expected)]


def test_a_varbit_field_that_is_not_there_is_empty(engine: Engine) -> None:
    """And not what the packet before had."""
    load(engine, "unions")
    ((_, data),) = engine.process(1, bytes([18, 6, 0]) + b"\3\2ab\xee" + b"\3\3xyz\xee")
    assert data[3] == 0
    ((_, data),) = engine.process(1, bytes([18, 7, 0]))
    assert data[3] == 0x77


def test_the_deparser_runs_its_statements(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    load(engine, "unions")
    with caplog.at_level(logging.INFO, logger="softswitch.dataplane"):
        engine.process(1, bytes([3, 7, 0]))
        engine.read_events()
    assert "sending 3" in caplog.text


def test_a_parser_that_takes_nothing_ends(engine: Engine) -> None:
    """BMv2 would go round for ever, and with it the switch."""
    builder = ProgramBuilder([("a", 8)], [("error", 8)])
    builder.action("go", [send_to(), primitive("add_header", {"type": "header", "value": "out"})])
    builder.actions[0]["primitives"].append(assign("out", "error", FieldRef("standard_metadata", "parser_error")))
    (state,) = builder.root["parsers"][0]["parse_states"]
    again = {"type": "hexstr", "value": "0x07", "mask": None, "next_state": "turn"}
    state["transition_key"] = [{"type": "field", "value": ["in", "a"]}]
    state["transitions"].insert(0, again)
    turn = {"name": "turn", "id": 1, "parser_ops": [], "transition_key": state["transition_key"]}
    builder.root["parsers"][0]["parse_states"].append(turn | {"transitions": state["transitions"]})
    engine.load(builder.text())
    assert engine.process(1, b"\7rest") == [(1, b"\7\5rest")]
    assert engine.process(1, b"\6rest") == [(1, b"\6\0rest")]


def test_numbers_of_any_width_are_logged_whole(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    widths = (8, 64, 128, 200)
    builder = ProgramBuilder([(f"f{width}", width) for width in widths], [("c", 8)])
    numbers: list[dict[str, object]] = [{"type": "field", "value": ["in", f"f{width}"]} for width in widths]
    numbers.append({"type": "hexstr", "value": f"-0x{2**70:x}"})
    text = {"type": "string", "value": "{} {} {} {} {} 100%"}
    builder.action("go", [primitive("log_msg", text, {"type": "parameters_vector", "value": numbers})])
    engine.load(builder.text())
    with caplog.at_level(logging.INFO, logger="softswitch.dataplane"):
        engine.process(1, bytes([255]) * 50)
        engine.process(1, bytes(50))
        engine.read_events()
    ones = " ".join(str(2**width - 1) for width in widths)
    assert [r.message for r in caplog.records] == [f"{ones} {-(2**70)} 100%", f"0 0 0 0 {-(2**70)} 100%"]
