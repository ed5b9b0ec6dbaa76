"""The engine's interface: operations and their errors, counters, registers, replication, events, clock, compilation."""

from __future__ import annotations

import json
import logging
import select
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from finsy.proto import p4r
from grpc import StatusCode
from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.match import Exact, Lpm, Range, Ternary
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import Compiler, CompilerMissing
from softswitch.engine.engine import Engine
from softswitch.engine.events import DigestEvent, PacketInEvent
from softswitch.p4runtime.errors import P4RuntimeError

import softswitch
from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.builder import ProgramBuilder, assign, primitive, send_to
from tests.softswitch.native.conftest import CPU_PORT
from tests.softswitch.native.traffic import internet_checksum
from tests.softswitch.native.writes import Entry, Match, Optional, Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import delete, insert, modify

MANAGED, ROUTES, ANSWER, WIDE, NOTHING = "I.managed", "I.routes", "I.answer", "I.wide", "I.nothing"
KEY: tuple[Match, ...] = (Exact(1), Ternary(0x0200, 0xFF00), Lpm(0x0A000000, 8), Optional(None))


NAMES = Names.of("matching")


@pytest.fixture
def matching() -> Iterator[softswitch.Switch]:
    """The program `matching` as users have it."""
    with softswitch.load(PROGRAMS / "matching.json", PROGRAMS / "matching.p4info.txtpb") as switch:
        yield switch


def load(engine: Engine, name: str) -> None:
    """Loads one of the test programs."""
    engine.load((PROGRAMS / f"{name}.json").read_text())


def managed(switch: softswitch.Switch, a: int = 1, b: int = 0x0234, c: int = 0x0A010203, d: int = 0) -> tuple[int, int]:
    """The answer of table `managed` and how it was reached (3 answer, 4 wide, 5 nothing)."""
    ((_, data),) = switch.process(1, struct.pack(">BBHI", 5, a, b, c) + d.to_bytes(16, "big"))
    result, how = struct.unpack(">IB", data[24:29])
    return result, how


def entry(
    key: tuple[Match, ...] = KEY, priority: int = 10, action: str | None = ANSWER, *parameters: int
) -> p4r.Entity:
    """An entry of table `managed`."""
    return Writes(NAMES.p4info).entity(Entry(MANAGED, key, priority, action, parameters))


def refusal(switch: softswitch.Switch, *updates: p4r.Update) -> list[P4RuntimeError | None]:
    """What a batch meets."""
    try:
        switch.write(updates)
    except softswitch.WriteError as error:
        return list(error.errors)
    return [None] * len(updates)


def code(switch: softswitch.Switch, update: p4r.Update) -> StatusCode | None:
    """The code with which one update is refused."""
    (error,) = refusal(switch, update)
    return None if error is None else error.code


def test_entry_life(matching: softswitch.Switch) -> None:
    assert managed(matching) == (50, 3)
    assert code(matching, insert(entry(KEY, 10, ANSWER, 7))) is None
    assert managed(matching) == (7, 3)
    assert code(matching, insert(entry(KEY, 10, ANSWER, 8))) is StatusCode.ALREADY_EXISTS
    assert code(matching, insert(entry(KEY, 20, WIDE, 1 << 127 | 9))) is None
    assert managed(matching) == (1 << 31 ^ 9, 4)
    assert code(matching, modify(entry(KEY, 20, NOTHING))) is None
    assert managed(matching) == (0, 5)
    assert code(matching, delete(entry(KEY, 20, NOTHING))) is None
    assert managed(matching) == (7, 3)
    assert code(matching, delete(entry(KEY, 20, NOTHING))) is StatusCode.NOT_FOUND
    assert managed(matching, b=0x0334) == (50, 3)


def test_default_action(matching: softswitch.Switch) -> None:
    writes = Writes(NAMES.p4info)
    matching.write([writes.entity(Entry(MANAGED, action=ANSWER, parameters=(51,), default=True))])
    assert managed(matching) == (51, 3)
    matching.write([writes.entity(Entry(MANAGED, default=True))])
    assert managed(matching) == (50, 3)


def bad(fields: Sequence[Match | None] = KEY, priority: int = 1, action: str = ANSWER, *parameters: int) -> p4r.Update:
    """An insertion without the fields that are None."""
    made = entry(tuple(Exact(0) if field is None else field for field in fields), priority, action, *parameters)
    left_out = [place for place, field in enumerate(fields, start=1) if field is None]
    kept = [match for match in made.table_entry.match if match.field_id not in left_out]
    del made.table_entry.match[:]
    made.table_entry.match.extend(kept)
    return insert(made)


def of_table(name: str, **fields: int) -> p4r.Update:
    """An insertion of nothing but these into a table."""
    return insert(p4r.Entity(table_entry=p4r.TableEntry(table_id=NAMES[name], **fields)))


BAD: dict[str, tuple[p4r.Update, StatusCode, str]] = {
    "table": (
        insert(p4r.Entity(table_entry=p4r.TableEntry(table_id=7))), StatusCode.INVALID_ARGUMENT, "no table has id 7"
    ),
    "wide parameter": (bad(KEY, 10, ANSWER, 1 << 32), StatusCode.INVALID_ARGUMENT, "'value': 0100000000 does not fit"),
    "priority": (bad(KEY, 0, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "priority"),
    "missing field": (bad((None, *KEY[1:]), 1, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "'hdr.q.a' is missing"),
    "wide value": (bad((Exact(256), *KEY[1:]), 1, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "0100 does not fit bit<8>"),
    "kind": (bad((Lpm(1, 8), *KEY[1:]), 1, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "'hdr.q.a' must be exact"),
    "mask": (
        bad((KEY[0], Ternary(0xFFFF, 0xFF00), *KEY[2:]), 1, ANSWER, 1),
        StatusCode.INVALID_ARGUMENT, "outside its mask",
    ),
    "prefix": (
        bad((*KEY[:2], Lpm(1, 33), KEY[3]), 1, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "prefix length 33 is not in"
    ),
    "range": (bad((KEY[0], Range(1, 2), *KEY[2:]), 1, ANSWER, 1), StatusCode.INVALID_ARGUMENT, "must be ternary"),
    "no priority": (of_table("routes", priority=3), StatusCode.INVALID_ARGUMENT, "no priorities"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_refused_updates(matching: softswitch.Switch, what: str) -> None:
    update, code, words = BAD[what]
    before, error, after = refusal(matching, insert(entry(KEY, 1, ANSWER, 1)), update, insert(entry(KEY, 2, ANSWER, 2)))
    assert before is None and after is None, "the rest of the batch is done"
    assert error is not None and error.code is code and words in error.message
    assert managed(matching) == (2, 3)


def test_const_entries_stay(matching: softswitch.Switch) -> None:
    made = Writes(NAMES.p4info).entity(Entry("I.prefix", (Lpm(0, 0), Exact(0)), 0, ANSWER, (1,)))
    assert code(matching, insert(made)) is StatusCode.PERMISSION_DENIED


def test_const_entries_of_the_program_stay_whatever_p4info_says(tmp_path: Path) -> None:
    info = Names.of("matching").p4info
    for table in info.tables:
        table.is_const_table = table.has_initial_entries = False
    (tmp_path / "info.txtpb").write_text(str(info))
    with softswitch.load(PROGRAMS / "matching.json", tmp_path / "info.txtpb") as switch:
        made = Writes(info).entity(Entry("I.prefix", (Lpm(0, 0), Exact(0)), 0, ANSWER, (1,)))
        assert code(switch, insert(made)) is StatusCode.PERMISSION_DENIED


def test_table_size(matching: softswitch.Switch) -> None:
    updates = [insert(entry((Exact(i), *KEY[1:]), 1, ANSWER, i)) for i in range(65)]
    errors = refusal(matching, *updates)
    assert errors[:64] == [None] * 64
    assert errors[64] is not None and errors[64].code is StatusCode.RESOURCE_EXHAUSTED


def counter(switch: softswitch.Switch, key: tuple[Match, ...]) -> tuple[int, int]:
    """Packets and bytes of an entry with priority 10."""
    wanted = p4r.DirectCounterEntry(table_entry=entry(key, 10, None).table_entry)
    (found,) = switch.read(p4r.Entity(direct_counter_entry=wanted))
    return found.direct_counter_entry.data.packet_count, found.direct_counter_entry.data.byte_count


def test_direct_counters(matching: softswitch.Switch) -> None:
    two: tuple[Match, ...] = (Exact(2), *KEY[1:])
    matching.write([entry(KEY, 10, ANSWER, 7), entry(two, 10, ANSWER, 7)])
    managed(matching)
    managed(matching)
    managed(matching, a=3)
    assert (counter(matching, KEY), counter(matching, two)) == ((2, 48), (0, 0))
    with pytest.raises(softswitch.LoadError, match="no such entry"):
        counter(matching, (Exact(9), *KEY[1:]))
    set_to = p4r.DirectCounterEntry(table_entry=entry(KEY, 10, None).table_entry)
    set_to.data.packet_count, set_to.data.byte_count = 100, 2**40
    matching.write([p4r.Entity(direct_counter_entry=set_to)])
    managed(matching)
    assert counter(matching, KEY) == (101, 2**40 + 24)


def test_direct_counters_of_tables_without_them(engine: Engine) -> None:
    load(engine, "matching")
    with pytest.raises(KeyError):
        engine.read_direct_counters(ROUTES, [])


def state_packet(op: int, index: int = 0, value: int = 0) -> bytes:
    """A packet of program `state`."""
    return struct.pack(">BI", op, index) + value.to_bytes(6, "big") + b"\0"


def test_registers(engine: Engine) -> None:
    load(engine, "state")
    engine.write_registers("I.cells", 3, [2**48 - 1])
    engine.process(1, state_packet(1, 4, 99))
    assert engine.read_registers("I.cells", 2, 3) == [0, 2**48 - 1, 99]
    engine.process(1, state_packet(2, 1, 5))
    engine.process(1, state_packet(2, 1, 6))
    assert engine.read_registers("I.wides", 0, 4) == [0, 5 << 40 | 6, 0, 0]
    engine.write_registers("I.wides", 0, [2**100 - 1])
    assert engine.read_registers("I.wides", 0, 1) == [2**100 - 1]
    for wrong in (
        lambda: engine.read_registers("I.cells", 15, 2),
        lambda: engine.write_registers("I.cells", 15, [0, 0]),
    ):
        with pytest.raises(IndexError):
            wrong()
    with pytest.raises(ValueError, match="does not fit 48 bits"):
        engine.write_registers("I.cells", 0, [2**48])
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
    engine.write_counters("I.seen", 5, [(1, 2)])
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
    engine.write_registers("I.cells", 3, [7])
    engine.set_multicast_group(1, [(2, 0)])
    load(engine, "state")
    assert engine.read_registers("I.cells", 3, 1) == [0]
    load(engine, "copies")
    assert [p for p, _ in engine.process(1, struct.pack(">BBH", 3, 0, 1))] == [2]


def test_a_refused_program_leaves_the_running_one(engine: Engine) -> None:
    load(engine, "state")
    engine.write_registers("I.cells", 3, [7])
    program = json.loads((PROGRAMS / "state.json").read_text())
    program["extern_instances"] = [{"name": "m"}]
    for attempt in (engine.load, engine.compile):
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
