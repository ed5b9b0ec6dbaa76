"""The runtime and generated code under address and undefined-behaviour sanitizers.

Valid, damaged and random packets give the same output as without sanitizers, and no report.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, given, settings
from softswitch.codegen.cc import RUNTIME, Compiler
from softswitch.engine import abi
from softswitch.engine.compiled import Compiled, as_it_is, compile_program
from softswitch.engine.engine import Engine
from softswitch.engine.meters import MeterConfig, pack_config
from softswitch.p4runtime.device import Device

from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.generated import Generated, programs
from tests.softswitch.native.test_generated import COMPILER, MINUTES, compiled
from tests.softswitch.native.traffic import GENERATORS, MANAGED, traffic, written
from tests.softswitch.native.writes import Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import insert, modify

SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
HERE = Path(__file__).parent
STEERING = PROGRAMS.parent.parent.parent / "p4src" / "compiled" / "steering.json"


class Recording(Engine):
    """Keeps what it has been told to do, and did."""

    def __init__(self) -> None:
        super().__init__(cpu_port=510)
        self.done: list[bytes] = []

    def apply_packed(self, operations: bytes, count: int) -> list[int]:
        """Do and keep the operations."""
        results, at = super().apply_packed(operations, count), 0
        for result in results:
            size, *_ = abi.OPERATION.unpack_from(operations, at)
            self.done += [operations[at : at + size]] if not result else []
            at += size
        return results


def write(engine: Recording, names: Names, updates: Sequence[p4r.Update]) -> None:
    """Run a program and write into its tables what it takes."""
    device = Device(1, engine, Recording, 510)
    device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
    device.write(updates, p4r.WriteRequest.CONTINUE_ON_ERROR)
    device.close()


def one_rate(compiled: Compiled, operations: Sequence[bytes]) -> list[bytes]:
    """What gives an entry of `metered` a meter of a single rate, which P4Info does not say it has."""
    codec = compiled.codecs.tables["I.metered"]
    last = [o for o in operations if abi.OPERATION.unpack_from(o)[1:3] == (codec.number, abi.Operation.INSERT)][-1]
    key = last[abi.OPERATION.size : codec.operation_bytes]
    part, data = codec.meter_part(abi.METER_CONFIG), pack_config(MeterConfig(0, 10, 0, 10, 10), 0)
    size = codec.operation_bytes + len(data)
    header = abi.OPERATION.pack(size, codec.number, abi.Operation.WRITE, part.offset, 0, len(data))
    return [header + key + data]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime with a main function."""
    target = tmp_path_factory.mktemp("sanitized") / "driver"
    compiler = shutil.which("gcc")
    assert compiler is not None
    sources = [HERE / "driver.c", *sorted(RUNTIME.glob("*.c"))]
    subprocess.run(
        [compiler, "-std=gnu11", *SANITIZE, f"-I{RUNTIME}", *map(str, sources), "-o", str(target), "-ldl", "-pthread"],
        check=True,
    )
    return target


def frames(rng: random.Random) -> list[tuple[int, bytes]]:
    """ARP, ICMP, TCP, UDP and tunnelled frames with lengths that fit."""
    made = []
    for _ in range(100):
        protocol = rng.choice([1, 4, 6, 17, 17, 17])
        ports = struct.pack(">HH", rng.choice([1, 9000]), rng.choice([9600, 9000, 80]))
        body = (
            ports + struct.pack(">HH", 60, 0) + b"\x48" + rng.choice([b"\x49", b"\x54"]) + b"\1\1" + rng.randbytes(48)
        )
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, rng.choice([0, 1, 64]), protocol, 0)
        made.append((rng.randrange(1, 5), bytes(12) + b"\x08\0" + head + rng.randbytes(8) + body))
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    return made + [(1, bytes(12) + b"\x08\x06" + arp + rng.randbytes(20)) for _ in range(10)]


def packets_for(name: str) -> list[tuple[int, bytes]]:
    """Traffic of the program's own, then the same cut, flipped, and noise."""
    rng = random.Random(5)
    good = traffic(name, 5, 150).packets if name != "steering" else frames(rng)
    packets = list(good)
    for _ in range(600):
        port, data = rng.choice(good)
        damaged = bytearray(data[: rng.randrange(len(data) + 1)])
        for _ in range(rng.randrange(4)):
            if damaged:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        packets.append((rng.choice([port, 0, 510]), bytes(damaged)))
    packets += [(rng.randrange(512), rng.randbytes(rng.randrange(200))) for _ in range(200)]
    if name == "unions":  # looks at varbit fields that only the packet before had
        packets += [(1, bytes([18, 6, 0]) + b"\3\2ab\xee\3\2ab\xee"), (1, bytes([18, 7, 0]))]
    return packets


def sanitized(
    driver: Path, folder: Path, pipeline: str, packets: list[tuple[int, bytes]], operations: Sequence[bytes]
) -> bytes:
    """What the driver writes; fails on a report."""
    compiled = compile_program(pipeline, as_it_is, Compiler(folder, flags=SANITIZE))
    packed = [*compiled.initial, *operations]
    (folder / "ops").write_bytes(struct.pack("<II", len(packed), 0) + b"".join(packed))
    (folder / "in").write_bytes(b"".join(struct.pack("<II", port, len(data)) + data for port, data in packets))
    result = subprocess.run(
        [str(driver), str(compiled.library), str(folder / "in"), str(folder / "ops"), str(folder / "out")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
    )
    assert result.returncode == 0, result.stderr[:4000]
    return (folder / "out").read_bytes()


@pytest.mark.parametrize("name", [*sorted(GENERATORS | MANAGED), "steering"])
def test_no_report(driver: Path, tmp_path: Path, name: str) -> None:
    path = STEERING if name == "steering" else PROGRAMS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    # what is random is different each time, and so is what comes out
    packets = [p for p in packets_for(name) if not (name == "state" and p[1][:1] in (b"\5",))]
    with Recording() as engine:
        if name == "steering":
            engine.load(path.read_text())
        else:
            write(engine, *written(name))
        if name == "metered":
            engine.apply(one_rate(engine.compile(path.read_text()), engine.done))
        out, at = sanitized(driver, tmp_path, path.read_text(), packets, engine.done), 0
        for group in (1, 2, 3):
            engine.set_multicast_group(group, [(group + 1, 10), (group + 2, 11)])
            engine.set_clone_session(group, [(group + 1, 10), (group + 2, 11)])
        for port in range(1, 512, 2):  # as the driver does: half of the packets wait in a queue
            engine.set_queue_rate(port, 10**9)
        engine.freeze_clock(0)
        for port, data in packets:
            (size,) = struct.unpack_from("<Q", out, at)
            left = engine.process(port, data) + [(one.port, one.data) for one in engine.settle()]
            engine.freeze_clock(0)
            expected = b"".join(struct.pack("<II", p, len(d)) + d for p, d in left)
            if name != "steering":
                assert out[at + 8 : at + 8 + size] == expected, data.hex()
            at += 8 + size


@pytest.mark.skipif(not MINUTES or COMPILER is None, reason="a part of `make fuzz` that needs p4c-bm2-ss")
@pytest.mark.timeout(int(MINUTES * 60 * 2) + 120)
def test_no_report_from_programs_made_at_random(driver: Path) -> None:
    until = time.monotonic() + MINUTES * 60

    @settings(
        max_examples=int(MINUTES * 60) + 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(programs())
    def each(program: Generated) -> None:
        if time.monotonic() > until:
            return
        with tempfile.TemporaryDirectory(prefix="sanitized-") as name:
            folder = Path(name)
            pipeline = compiled(program, folder)
            info = text_format.Parse((folder / "made.p4info.txtpb").read_text(), p4i.P4Info())
            entities = Writes(info).entities(program.entries)
            updates = [modify(e) if e.table_entry.is_default_action else insert(e) for e in entities]
            with Recording() as engine:  # entries made at random may be there already
                write(engine, Names(info, pipeline.encode()), updates)
                entries = engine.done
            packets = [*program.packets, *(p for whole in program.packets for p in damaged(whole))]
            assert sanitized(driver, folder, pipeline, packets, entries)

    each()


def damaged(packet: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """The same packet, cut and with a bit flipped."""
    port, data = packet
    rng = random.Random(data)
    cut = bytearray(data[: rng.randrange(len(data) + 1)])
    if cut:
        cut[rng.randrange(len(cut))] ^= 1 << rng.randrange(8)
    return [(port, data[: len(cut)]), (port, bytes(cut))]
