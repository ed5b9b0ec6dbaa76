"""The switch as a Python object."""

from __future__ import annotations

import logging
import struct
import threading
from pathlib import Path

import pytest
from finsy.proto import p4r

import softswitch
from tests.softswitch.p4runtime.client import PROGRAMS, Names
from tests.softswitch.p4runtime.test_action_profiles import SPREADING, chosen, many, one_shot
from tests.softswitch.p4runtime.test_idle_timeouts import entry as ageing
from tests.softswitch.p4runtime.test_watch_ports import watching

MATCHING = Names.of("matching")


def load(program: str, **options: object) -> softswitch.Switch:
    """One of the test programs with its P4Info."""
    return softswitch.load(PROGRAMS / f"{program}.json", PROGRAMS / f"{program}.p4info.txtpb", **options)


def entry(a: int, value: int, action: str = "answer") -> str:
    """An entry of table `managed`, as text."""
    return f"""table_entry {{
        table_id: {MATCHING["managed"]} priority: 1
        match {{ field_id: 1 exact {{ value: "\\{a:03o}" }} }}
        action {{ action {{ action_id: {MATCHING[action]} params {{ param_id: 1 value: "\\{value:03o}" }} }} }}
    }}"""


def answer(switch: softswitch.Switch, a: int) -> int:
    """What `managed` says to key `a`."""
    ((port, data),) = switch.process(1, struct.pack(">BBHI", 5, a, 0, 0) + bytes(16))
    assert port == 3
    return int.from_bytes(data[24:28], "big")


def test_entries_by_every_way_in(tmp_path: Path) -> None:
    path = tmp_path / "entries.txtpb"
    path.write_text(f"# of a\nentities {{ {entry(1, 11)} }}\nentities {{ {entry(2, 12)} }}")
    with load("matching", entries=path) as switch:
        assert [answer(switch, a) for a in (1, 2, 3)] == [11, 12, 50]
        switch.write(f"updates {{ type: MODIFY entity {{ {entry(1, 21)} }} }}")
        assert answer(switch, 1) == 21
        read = switch.read(f"table_entry {{ table_id: {MATCHING['managed']} }}")
        assert len(read) == 2
        switch.write([p4r.Update(type=p4r.Update.DELETE, entity=e) for e in read])
        assert [answer(switch, a) for a in (1, 2)] == [50, 50]
        switch.write(read)
        assert [answer(switch, a) for a in (1, 2)] == [21, 12]
        switch.write(
            f"entities {{ table_entry {{ table_id: {MATCHING['managed']} is_default_action: true"
            f' action {{ action {{ action_id: {MATCHING["answer"]} params {{ param_id: 1 value: "\\x07" }} }} }} }} }}'
        )
        assert answer(switch, 9) == 7


def test_refused_entries_say_which_and_why() -> None:
    with load("matching") as switch:
        with pytest.raises(
            softswitch.WriteError, match=r"update 2 \(table_entry\): ALREADY_EXISTS: .*managed"
        ) as error:
            switch.write(f"entities {{ {entry(1, 1)} }} entities {{ {entry(1, 2)} }} entities {{ {entry(2, 3)} }}")
        assert [e is None for e in error.value.errors] == [True, False, True]
        assert [answer(switch, a) for a in (1, 2)] == [1, 3]
        whole = p4r.WriteRequest(atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
        for e in switch.read(f"table_entry {{ table_id: {MATCHING['managed']} }}"):
            whole.updates.add(type=p4r.Update.DELETE, entity=e)
        whole.updates.append(whole.updates[0])
        with pytest.raises(softswitch.WriteError, match="NOT_FOUND"):
            switch.write(whole)
        assert [answer(switch, a) for a in (1, 2)] == [1, 3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("updates {\n  type: INSERT\n  entity { tabel_entry {} }\n}", r"entries:3:12: .*tabel_entry"),
        ("entities { table_entry { table_id: x } }", r"entries:1:\d+: .*integer: x"),
        ("table_entry {}", r"entries:1:1: .*updates \{…\}"),
        ("no-such-file.txtpb", "cannot read no-such-file.txtpb: No such file"),
    ],
)
def test_unreadable_entries_say_where(text: str, sentence: str) -> None:
    with load("matching") as switch, pytest.raises(softswitch.LoadError, match=sentence):
        switch.write(text)


def test_counters_and_registers_are_written_and_read() -> None:
    names = Names.of("state")
    with load("state") as switch:
        cell = f"register_entry {{ register_id: {names['cells']} index {{ index: 3 }}"
        switch.write(f'entities {{ {cell} data {{ bitstring: "\\x09" }} }} }}')
        switch.process(1, struct.pack(">BI", 3, 5) + bytes(7))
        (register,) = switch.read(f"{cell} }}")
        (counter,) = switch.read(f"counter_entry {{ counter_id: {names['seen']} index {{ index: 5 }} }}")
        assert register.register_entry.data.bitstring == b"\x09"
        assert (counter.counter_entry.data.packet_count, counter.counter_entry.data.byte_count) == (1, 12)
        with pytest.raises(softswitch.LoadError, match="cannot read: "):
            switch.read("register_entry { register_id: 1 }")


def test_without_p4info_packets_run_and_entries_are_explained() -> None:
    with softswitch.load(str(PROGRAMS / "matching.json")) as switch:
        assert answer(switch, 1) == 50
        for call in (lambda: switch.write(f"entities {{ {entry(1, 1)} }}"), lambda: switch.read("table_entry {}")):
            with pytest.raises(softswitch.LoadError, match="p4info="):
                call()


def test_copies_drops_digests_and_the_cpu_port(caplog: pytest.LogCaptureFixture) -> None:
    with load("copies", cpu_port=510) as switch:
        group = "packet_replication_engine_entry { multicast_group_entry { multicast_group_id: 1"
        switch.write(f"entities {{ {group} replicas {{ egress_port: 2 }} replicas {{ egress_port: 510 }} }} }} }}")
        assert [port for port, _ in switch.process(7, struct.pack(">BBH", 3, 0, 1))] == [2, 510]
        assert switch.process(7, struct.pack(">BBH", 5, 200, 0)) == []
        assert switch.digests() == [softswitch.DigestEvent("seen_t", (200, 7, 0xABCDEF123456))]
        assert switch.digests() == []
    with load("state") as switch, caplog.at_level(logging.ERROR, logger="softswitch.dataplane"):
        assert switch.process(1, struct.pack(">BI", 8, 3) + bytes(7)) == []
        assert "assert failed" in caplog.text, "said when it happens, not when somebody asks"


def test_trace_explains_a_packet() -> None:
    with load("matching", entries=f"entities {{ {entry(1, 11)} }}") as switch:
        outputs, trace = switch.trace(1, struct.pack(">BBHI", 5, 1, 0, 0) + bytes(16))
        assert [port for port, _ in outputs] == [3]
        assert trace.of("table") == ["I.managed"] and trace.of("action") == ["I.answer"]
        step = next(step for step in trace.steps if step.kind == "table")
        assert step.source is not None and (step.source.filename, step.source.line) == ("matching.p4", 61)
        assert "hit [0x1, *, 0x0/0, *], priority 1" in str(trace)


def test_a_port_that_is_down_sends_nothing_and_is_not_selected() -> None:
    names = Names.of("indirect")
    packets = many(SPREADING, 1)

    def asked(switch: softswitch.Switch) -> list[int]:
        return [int.from_bytes(data[8:10], "big") for packet in packets for _, data in switch.process(1, packet)]

    with load("indirect") as switch:
        switch.write([watching(one_shot(names, 1, ("answer", 1, (10,)), ("answer", 1, (20,))), 4, 5)])
        assert asked(switch) == chosen(packets, [10, 20])
        switch.set_port(4, False)
        assert asked(switch) == [20] * len(packets)
        switch.set_port(4, True)
        assert asked(switch) == chosen(packets, [10, 20])
        switch.set_port(3, False)
        assert asked(switch) == [], "port 3 is where the answers go"


def test_seed_repeats_random_numbers() -> None:
    def drawn(seed: int | None) -> list[bytes]:
        packet = struct.pack(">BI", 5, 0) + (60000).to_bytes(6, "big") + b"\0"
        with load("state", seed=seed) as switch:
            return [switch.process(1, packet)[0][1] for _ in range(8)]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in (0, 1, 2, None)}) == 4


def test_clock_stands_where_it_is_set() -> None:
    with load("copies") as switch:
        switch.set_clock(123)
        assert switch.clock_us == 123
        switch.set_clock(None)
        assert switch.clock_us < 60_000_000


def test_idle_entries_are_told_by_the_switchs_clock() -> None:
    def at(seconds: float) -> list[int]:
        switch.set_clock(round(seconds * 1e6))
        return [idle.controller_metadata for idle in switch.idle_entries()]

    with load("metered") as switch:
        switch.set_clock(1_000_000)
        switch.write([ageing(Names.of("metered"), 1, 10**9, cookie=77), ageing(Names.of("metered"), 2)])
        assert (at(1.9), at(2.0), at(2.5)) == ([], [77], [])
        switch.process(1, bytes([4, 1]))
        assert (at(3.4), at(3.5), at(4.4), at(4.6)) == ([], [77], [], [77])
    with softswitch.load(PROGRAMS / "metered.json") as bare:
        assert bare.idle_entries() == []


def test_many_threads() -> None:
    """Each thread owns an entry; no call sees another's half-done work."""
    failures: list[BaseException] = []

    def work(switch: softswitch.Switch, a: int) -> None:
        try:
            for value in range(1, 60):
                kind = "INSERT" if value == 1 else "MODIFY"
                switch.write(f"updates {{ type: {kind} entity {{ {entry(a, value)} }} }}")
                assert answer(switch, a) == value
        except BaseException as error:
            failures.append(error)

    with load("matching") as switch:
        threads = [threading.Thread(target=work, args=(switch, a)) for a in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.parametrize(
    ("program", "p4info", "sentence"),
    [
        ("no.json", None, "cannot read no.json"),
        (__file__, None, "test_switch.py is no BMv2 JSON"),
        (PROGRAMS / "copies.json", __file__, "test_switch.py is no P4Info in text form"),
        (PROGRAMS / "copies.json", PROGRAMS / "state.p4info.txtpb", "copies.json: "),
    ],
)
def test_what_cannot_be_loaded_is_said(program: Path | str, p4info: Path | str | None, sentence: str) -> None:
    with pytest.raises(softswitch.LoadError, match=sentence):
        softswitch.load(program, p4info)


def test_ports_are_checked() -> None:
    with load("copies") as switch, pytest.raises(ValueError, match=r"512 is not a port number in 0\.\.511"):
        switch.process(512, b"")


def test_packets_are_whatever_has_bytes() -> None:
    class Made:
        def __bytes__(self) -> bytes:
            return query

    query = struct.pack(">BBHI", 5, 1, 0, 0) + bytes(16)
    with load("matching") as switch:
        expected = switch.process(1, query)
        for packet in (bytearray(query), memoryview(query), Made()):
            assert switch.process(1, packet) == switch.trace(1, packet)[0] == expected
        for wrong in ("abc", 24, None):
            with pytest.raises(TypeError, match="a packet is bytes, not "):
                switch.process(1, wrong)  # type: ignore[arg-type]


def test_what_cannot_be_written_is_said() -> None:
    with load("matching") as switch:
        for wrong in (b"abc", [{"table": "t"}]):
            with pytest.raises(TypeError, match=r"entries are .* messages, not (int|dict)"):
                switch.write(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("ports", [{"cpu_port": 0}, {"cpu_port": 511}, {"cpu_port": 5, "drop_port": 5}])
def test_cpu_port_is_one_of_its_own(ports: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="neither 0 nor the drop port"):
        load("matching", **ports)
