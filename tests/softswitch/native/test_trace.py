"""The trace of a packet: what it tells, that telling changes nothing, and what it does not disturb."""

from __future__ import annotations

import json
import logging
import struct
import time
from pathlib import Path

import pytest
from softswitch.bmv2.match import Exact, Lpm, Ternary
from softswitch.engine.engine import Engine
from softswitch.engine.events import DigestEvent
from softswitch.engine.trace import Trace

import softswitch
from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.conftest import CPU_PORT
from tests.softswitch.native.traffic import GENERATORS, MANAGED, traffic, written
from tests.softswitch.native.writes import Entry, Optional, Writes, replication
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import insert
from tests.softswitch.p4runtime.test_action_profiles import entry, group, member

STEERING = Path(__file__).parents[3] / "p4src/compiled/steering.json"


def load(engine: Engine, name: str) -> None:
    """Loads one of the test programs."""
    engine.load((PROGRAMS / f"{name}.json").read_text())


def switch_of(names: Names, folder: Path, seed: int = 1) -> softswitch.Switch:
    """A switch with a program."""
    (folder / "program.json").write_bytes(names.device_config)
    (folder / "program.txtpb").write_text(str(names.p4info))
    return softswitch.load(folder / "program.json", folder / "program.txtpb", cpu_port=CPU_PORT, seed=seed)


def trace(engine: Engine | softswitch.Switch, data: bytes, port: int = 1) -> Trace:
    """Of one packet."""
    return engine.trace(port, data)[1]


def lines(trace: Trace) -> list[str]:
    """The text, with one space for any number of them."""
    return [" ".join(line.split()) for line in str(trace).splitlines()]


def query(which: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> bytes:
    """A packet of program `matching`."""
    return struct.pack(">BBHI", which, a, b, c) + d.to_bytes(16, "big")


@pytest.mark.parametrize("name", sorted(GENERATORS | MANAGED))
def test_a_traced_packet_goes_the_same_way(name: str, tmp_path: Path) -> None:
    load_ = traffic(name, 3, 200)
    names, updates = written(name)
    with switch_of(names, tmp_path) as plain, switch_of(names, tmp_path) as traced:
        for switch in (plain, traced):
            switch.set_clock(1000)
            switch.write(updates)
            switch.write(replication(load_.groups, load_.sessions))
        for port, data in load_.packets:
            outputs, told = traced.trace(port, data)
            assert outputs == plain.process(port, data)
            assert told.of("out") == [str(out) for out, _ in outputs]
            # turn by turn, so that state is shared by both variants
            assert traced.process(port, data) == plain.process(port, data)


def test_a_steering_packet_is_told_with_names_and_lines(engine: Engine) -> None:
    engine.load(STEERING.read_text())
    engine.freeze_clock(1_500_000)
    ethernet = bytes.fromhex("020000000001020000000002") + b"\x08\0"
    ip = bytearray.fromhex("4500001c000000004011000000000000" + "0a000002")
    packet = ethernet + bytes(ip[:12]) + bytes([10, 0, 0, 1]) + bytes(ip[16:]) + struct.pack(">HHHH", 1, 2, 8, 0)
    told = trace(engine, packet)
    text = lines(told)
    assert text[0] == "packet of 42 bytes in at port 1, 1.500000 s"
    assert "checksums are wrong" in text
    assert any(line.startswith("guard.p4:") and "checksum_error == 1): true" in line for line in text)
    assert text[-1] == "dropped"
    change = next(s for s in told.steps if s.name == "standard_metadata.egress_spec")
    assert change.detail == "standard_metadata.egress_spec: 0x0 -> 0x1ff"


def test_hits_tell_the_entry_and_the_action(tmp_path: Path) -> None:
    names = Names.of("matching")
    engine, writes = switch_of(names, tmp_path), Writes(names.p4info)
    key = (Exact(1), Ternary(0x0200, 0xFF00), Lpm(0x0A000000, 8), Optional(None))
    more = (Exact(1), Ternary(0, 0), Lpm(0x0A010000, 16), Optional(7))
    engine.write([writes.entity(Entry("I.managed", key, 10, "I.answer", (7,)))])
    engine.write([writes.entity(Entry("I.managed", more, 5, "I.wide", (1 << 127 | 9,)))])
    told = trace(engine, query(5, 1, 0x234, 0x0A010203))
    asked = "table I.managed (hdr.q.a=0x1, hdr.q.b=0x234, hdr.q.c=0xa010203, hdr.q.d=0x0)"
    assert f"matching.p4:61 {asked}: hit [0x1, 0x200 &&& 0xff00, 0xa000000/8, *], priority 10" in lines(told)
    assert "I.answer(value=0x7)" in lines(told)
    assert "matching.p4:16 hdr.r.result = value r.result: 0x0 -> 0x7" in lines(told)
    assert told.of("table") == ["I.managed"] and told.of("action") == ["I.answer"]
    other = lines(trace(engine, query(5, 1, 0, 0x0A010203, 7)))
    assert any(line.endswith("hit [0x1, *, 0xa010000/16, 0x7], priority 5") for line in other)
    assert "I.wide(value=0x80000000000000000000000000000009)" in other
    missed = lines(trace(engine, query(5, 2)))
    assert any(line.startswith("matching.p4:61 table I.managed") and line.endswith(": miss") for line in missed)
    assert "I.answer(value=0x32)" in missed, "the default action"
    engine.close()


def test_values_are_written_as_p4info_says(tmp_path: Path) -> None:
    """Key field and header field alike, wherever they are told of; a format that does not fit the width is none."""
    names = Names.of("matching")
    (table,) = [table for table in names.p4info.tables if table.preamble.name == "I.managed"]
    for field, annotation in zip(table.match_fields, ("IPV4", "MAC", "IPV4", "IPV6"), strict=True):
        field.annotations.append(f"@format({annotation}_ADDRESS)")
    key = (Exact(1), Ternary(0x0200, 0xFF00), Lpm(0x0A000000, 8), Optional(None))
    with switch_of(names, tmp_path) as switch:
        switch.write([Writes(names.p4info).entity(Entry("I.managed", key, 10, "I.answer", (7,)))])
        text = str(trace(switch, query(5, 1, 0x234, 0x0A010203, 1)))
    assert "(hdr.q.a=0x1, hdr.q.b=0x234, hdr.q.c=10.1.2.3, hdr.q.d=::1)" in text
    assert "hit [0x1, 0x200 &&& 0xff00, 10.0.0.0/8, *]" in text
    assert "b=0x234 c=10.1.2.3 d=::1" in text


@pytest.mark.parametrize(
    ("packet", "hit"),
    [
        (query(1, 2), "hit [0x2, 0x0]"),
        (query(2, 0, c=0x0A0A0A01), "hit [0xa0a0a01, 0x0]"),
        (query(2, 1, c=0x0A0B0000), "hit [0xa0a0000/15, 0x1]"),
        (query(4, 3, 250), "hit [0x96..0x12c, 0x3 &&& 0x3, 0x0..0x0], priority"),
    ],
)
def test_const_entries_of_every_kind(engine: Engine, packet: bytes, hit: str) -> None:
    load(engine, "matching")
    assert hit in str(trace(engine, packet))


def test_members_and_groups_are_told(tmp_path: Path) -> None:
    names = Names.of("indirect")
    engine = switch_of(names, tmp_path)
    second = Writes(names.p4info).entity(Entry("I.second", (Ternary(2, 2),), 5))
    second.table_entry.action.action_profile_member_id = 3
    spread = [
        member(names, "spread", 9, "send", 5, 99),
        group(names, 6, (9, 1)),
        entry(names, "spreading", 1, to_group=6),
        *(member(names, "shared", i, "answer", 74 + i) for i in (1, 2, 3)),
        second,
        group(names, 7),
        entry(names, "spreading", 2, to_group=7),
    ]
    engine.write([insert(made) for made in spread])
    text = lines(trace(engine, struct.pack(">BBHI", 3, 1, 0, 0)))
    assert any(line.endswith("table I.spreading (key=0x1): hit [0x1], group 0") for line in text)
    assert "I.send(port=0x5, value=0x63)" in text
    text = lines(trace(engine, struct.pack(">BBHI", 2, 2, 0, 0)))
    assert any(line.endswith("hit [0x2 &&& 0x2], member 2, priority 5") for line in text)
    assert "I.answer(value=0x4d)" in text
    text = lines(trace(engine, struct.pack(">BBHI", 3, 2, 0, 0)))
    assert any(line.endswith("no action") for line in text), "the group is empty"
    engine.close()


def test_parser_steps_and_errors(engine: Engine) -> None:
    load(engine, "parsing")
    hops = struct.pack(">HH", 5, 0x8007)
    told = trace(engine, bytes(6) + bytes(5) + b"\1" + struct.pack(">H", 0x1000) + hops + b"rest")
    text = lines(told)
    assert "extract ethernet: dst=00:00:00:00:00:00 src=00:00:00:00:00:01 type=0x1000" in text
    assert "extract hops[0]: bos=0x0 port=0x5" in text and "extract hops[1]: bos=0x1 port=0x7" in text
    assert told.of("extract") == ["ethernet", "hops[0]", "hops[1]"] and told.of("state")[0] == "start"
    assert "accept" in text and text[-1].endswith("4 of them payload")
    assert "parser error PacketTooShort" in lines(trace(engine, b"short"))


def copies(op: int, arg: int = 0, group: int = 0) -> bytes:
    """A packet of program `copies`."""
    return struct.pack(">BBH", op, arg, group)


@pytest.mark.parametrize(
    ("packet", "kinds", "sentence"),
    [
        (copies(0), ["copy", "out"], "to port 4"),
        (copies(1, 2), ["clone", "copy", "out", "copy", "out"], "clone of ingress to session 2"),
        (copies(1, 9), ["clone", "copy", "out"], "clone of ingress to session 9, which does not exist"),
        (copies(2, 1), ["resubmit", "pass", "copy", "out"], "parser (resubmitted)"),
        (copies(3, 0, 1), ["multicast", "copy", "out", "copy", "out"],
         "to port 2 (copy of a multicast group, instance 9)"),
        (copies(3, 0, 7), ["multicast"], "to multicast group 7, which does not exist: dropped"),
        (copies(4, 0, 1), ["drop"], "dropped"),
        (copies(5, 200), ["digest", "drop"], "digest seen_t: 0xc8, 0x1, 0xabcdef123456"),
        (copies(7, 1), ["copy", "recirculate", "pass", "copy", "out"], "parser (recirculated)"),
        (copies(8, 2), ["copy", "clone", "out", "copy", "out"], "clone of egress to session 2"),
        (copies(11), ["copy", "drop"], "dropped"),
    ],
)  # fmt: skip
def test_copies_and_drops(engine: Engine, packet: bytes, kinds: list[str], sentence: str) -> None:
    load(engine, "copies")
    engine.set_multicast_group(1, [(2, 9), (3, 0)])
    engine.set_clone_session(2, [(6, 0)])
    told = trace(engine, packet)
    ours = ("clone", "resubmit", "multicast", "drop", "copy", "recirculate", "out", "digest", "pass")
    assert [step.kind for step in told.steps if step.kind in ours][1:] == kinds
    assert sentence in lines(told)


def test_registers_counters_and_asserts(engine: Engine) -> None:
    load(engine, "state")

    def packet(op: int, index: int, value: int = 0) -> bytes:
        return struct.pack(">BI", op, index) + value.to_bytes(6, "big") + b"\0"

    text = lines(trace(engine, packet(1, 3, 99)))
    assert "state.p4:35 cells.write(hdr.q.index, hdr.q.value) [0x3, 0x63]" in text
    assert "I.swap()" in text
    assert engine.read_registers("I.cells", 3, 1) == [99], "the traced packet is a packet"
    assert any("seen.count(hdr.q.index) [0x5]" in line for line in lines(trace(engine, packet(3, 5))))
    assert lines(trace(engine, packet(8, 3)))[-1] == "an assert failed: dropped"


def test_endless_rounds_are_cut(engine: Engine) -> None:
    program = json.loads((PROGRAMS / "copies.json").read_text())
    resubmit = next(p for a in program["actions"] for p in a["primitives"] if p["op"] == "resubmit")
    resubmit["parameters"][0]["value"] = "0x3"
    engine.load(json.dumps(program))
    told = trace(engine, copies(2, 5))
    assert told.steps[-1].kind == "cut" and len(told.steps) > 1000
    assert trace(engine, copies(0)).of("out") == ["4"]


def test_live_packets_are_logged_while_told_to(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="softswitch.trace")
    load(engine, "copies")
    engine.packet_out(copies(0))
    engine.read_events()
    assert not caplog.records
    engine.trace_packets(True)
    engine.start()
    engine.packet_out(copies(3, 0, 7))
    engine.read_events()
    assert "multicast group 7, which does not exist" in caplog.text
    load(engine, "matching")
    engine.packet_out(query(5, 1))
    engine.read_events()
    assert "table I.managed" in caplog.text, "a program that is loaded meanwhile is traced too"
    caplog.clear()
    engine.trace_packets(False)
    engine.packet_out(query(5, 1))
    engine.read_events()
    assert not caplog.records


def test_tracing_leaves_room_for_digests(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    load(engine, "copies")
    engine.trace_packets(True)
    for _ in range(8000):
        engine.packet_out(copies(0))
    engine.packet_out(copies(5, 1))
    assert [e for e in engine.read_events() if isinstance(e, DigestEvent)]
    assert not any(engine.lost_events)
    engine.packet_out(copies(0))
    engine.read_events()
    assert "packets were not traced: too many at once" in caplog.text


def test_a_new_header_has_no_old_values(engine: Engine) -> None:
    """What an earlier packet left in memory is nothing that this one changed."""
    load(engine, "matching")
    for _ in range(2):
        told = trace(engine, query(5, 1))
        assert "matching.p4:71 hdr.r.setValid() r is valid" in lines(told)
        assert "matching.p4:16 hdr.r.result = value r.result: 0x0 -> 0x32" in lines(told)


def test_packets_are_as_fast_after_a_trace_as_before(engine: Engine) -> None:
    """The variant that tells is left as soon as its packet is done: it takes several times as long."""
    packet = bytes(12) + b"\x08\0" + bytes(100)

    def time_taken(by: Engine) -> float:
        begin = time.perf_counter()
        for _ in range(20):
            by.process(1, packet)
        return time.perf_counter() - begin

    with Engine() as untraced:
        for each in (engine, untraced):
            each.load(STEERING.read_text())
        engine.trace(1, packet)
        # In turn, so that what slows the machine down slows both down.
        times = [(time_taken(engine), time_taken(untraced)) for _ in range(200)]
    traced, others = map(min, zip(*times, strict=True))
    assert traced < 2 * others


def test_without_program(engine: Engine) -> None:
    engine.trace_packets(True)
    with pytest.raises(RuntimeError, match="no program"):
        engine.trace(1, b"")
