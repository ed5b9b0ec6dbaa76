"""Queues and links of a running switch, set as a user does it, on real interfaces."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from softswitch.commands import ports
from softswitch.commands.pcap import PcapReader, PcapWriter
from softswitch.engine.abi import Direction
from softswitch.engine.engine import Engine
from softswitch.p4runtime.ports import SERVICE

from softswitch import Link
from tests.softswitch.native import bmv2
from tests.softswitch.native.test_ports import (  # noqa: F401 (switch and wires are fixtures)
    Wire,
    copies_packet,
    eventually,
    switch,
    wires,
)
from tests.softswitch.native.test_queues import packet, told
from tests.softswitch.p4runtime.client import PROGRAMS
from tests.softswitch.test_cli import Start, start  # noqa: F401 (a fixture)
from tests.softswitch.test_ports_live import begin
from tests.softswitch.test_run import run

needs_root = pytest.mark.root("needs root")
OUT_PORT = 4
DELAY_S = 0.05
DEPTH, RATE = 20, 100
FLOOD = 1000
SS_HELD_BACK = 128
SO_RCVBUFFORCE = 33


def port(address: str, *arguments: str) -> tuple[int, str, str]:
    """`softswitch port …`, in this process: exit code, output, errors."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        try:
            code: object = ports.main([*arguments, "--grpc-server-addr", address])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return code, output.getvalue(), errors.getvalue()


def number(data: bytes) -> int:
    """Of a packet of program `copies`, as it left."""
    return data[18]


@needs_root
def test_a_port_is_set_while_it_runs(start: Start, wires: list[Wire]) -> None:  # noqa: F811
    ends = [word for n, wire in zip((3, OUT_PORT), wires[:2], strict=True) for word in ("-i", f"{n}@{wire.name}")]
    process, address = begin(start, *ends, "--link", f"{OUT_PORT}@delay=50ms")
    eventually(lambda: port(address, "list")[1].count(" up ") == 2)

    def crosses() -> float:
        sent = time.monotonic()
        wires[0].send(copies_packet(0))
        assert wires[1].receive() is not None
        return time.monotonic() - sent

    assert crosses() >= DELAY_S
    assert port(address, "set", str(OUT_PORT), "--delay", "0", "--loss", "100%") == (0, "", "")
    for _ in range(3):
        wires[0].send(copies_packet(0))
    eventually(lambda: f"{OUT_PORT} out: loss 100%, 3 lost" in port(address, "list")[1])
    assert port(address, "set", str(OUT_PORT), "--loss", "0", "--rate", "10bit", "--queue-depth", "5")[0] == 0
    for _ in range(20):
        wires[0].send(copies_packet(0))
    eventually(lambda: "queue 0: 5 of 5 waiting, 14 dropped" in port(address, "list")[1])
    assert process.stop()[0] == 0, "with packets that wait"


@needs_root
def test_what_waits_leaves_by_itself(switch: Engine, wires: list[Wire]) -> None:  # noqa: F811
    """In order, at its time, whatever else happens meanwhile: also what a caller has put in while the switch slept."""
    switch.set_link(OUT_PORT, Direction.OUT, Link(delay_us=DELAY_S * 1e6))
    sent = time.monotonic()
    for n in range(100):
        wires[0].send(copies_packet(0, n))
    switch.packet_out(copies_packet(0, 100))
    received = [wires[1].receive() for _ in range(101)]
    assert time.monotonic() - sent >= DELAY_S
    assert sorted(number(data) for data in received if data) == list(range(101))
    switch.set_link(3, Direction.IN, Link(delay_us=DELAY_S * 1e6))
    sent = time.monotonic()
    wires[0].send(copies_packet(0))
    assert wires[1].receive() is not None and time.monotonic() - sent >= 2 * DELAY_S


@needs_root
def test_a_slow_port_sends_at_its_rate_and_tells_of_its_queue(switch: Engine, wires: list[Wire]) -> None:  # noqa: F811
    """The same depths as on a clock that stands: each packet of a burst finds those before it."""
    switch.load((PROGRAMS / "queues.json").read_text())
    switch.set_queue_depth(OUT_PORT, DEPTH)
    switch.set_queue_rate(OUT_PORT, RATE)
    for n in range(2 * DEPTH):
        wires[0].send(packet(n, port=OUT_PORT) + copies_packet(0))
    stories = [told(data) for data in (wires[1].receive() for _ in range(DEPTH + 1)) if data]
    assert [story.number for story in stories] == sorted(story.number for story in stories)
    depths = [story.enq_qdepth for story in stories]
    assert max(depths) == DEPTH - 1 and all(later <= sooner + 1 for sooner, later in pairwise(depths))
    waits = [(story.enq_qdepth + 1) * 1_000_000 // RATE for story in stories]
    assert all(wait - 1_000_000 // RATE <= story.deq_timedelta for story, wait in zip(stories, waits, strict=True)), (
        "nobody left before its time"
    )
    assert sum(queue.dropped for queue in switch.shaping()[OUT_PORT].queues) >= 1


@needs_root
@pytest.mark.parametrize("target", ["softswitch", "bmv2"])
def test_an_interface_that_tc_slows_down_fills_the_queue(wires: list[Wire], tmp_path: Path, target: str) -> None:  # noqa: F811
    """First the socket's buffer takes packets, then the output buffer of 128, then the queue, then they are dropped."""
    if target == "bmv2" and bmv2.BINARY is None:
        pytest.skip("simple_switch_grpc is not installed")
    slow = ("rate", "500kbit", "burst", "10kb", "limit", "10mb")
    added = subprocess.run(["tc", "qdisc", "add", "dev", wires[1].name, "root", "tbf", *slow], check=False)
    if added.returncode:
        pytest.skip("this kernel has no tbf")
    wires[1].far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    ends = ["-i", f"3@{wires[0].name}", "-i", f"4@{wires[1].name}"]
    program, serving = str(PROGRAMS / "queues.json"), ("--", "--grpc-server-addr", f"unix:{tmp_path}/control")
    command = [sys.executable, "-m", "softswitch"] if target == "softswitch" else [str(bmv2.BINARY)]
    with subprocess.Popen([*command, *ends, program, *serving], stdout=subprocess.DEVNULL) as process:
        try:
            frame = copies_packet(0, size=80)
            eventually(lambda: cross(wires, packet(0, port=OUT_PORT) + frame))
            while wires[1].receive(0.05) is not None:
                pass
            for n in range(1, FLOOD + 1):
                wires[0].send(packet(n, port=OUT_PORT) + frame)
                if n % 10 == 0:
                    time.sleep(1e-3)  # BMv2 takes no more at once
            stories = []
            while (data := wires[1].receive(1.0)) is not None:
                stories.append(told(data))
        finally:
            process.terminate()
            process.wait(60)
    depths = [story.enq_qdepth for story in stories]
    assert len(stories) < FLOOD, "the queue has dropped some"
    assert max(depths) == 63 and max(story.deq_qdepth for story in stories) == 63
    assert depths.index(63) > SS_HELD_BACK + 63, "buffers come before it"
    assert [story.number for story in stories] == sorted(story.number for story in stories)


def cross(wires: list[Wire], data: bytes) -> bool:  # noqa: F811
    """Whether a packet comes through."""
    wires[0].send(data)
    return wires[1].receive(0.05) is not None


@needs_root
def test_mistakes_get_one_sentence(start: Start) -> None:  # noqa: F811
    process, address = begin(start, "--priority-queues", "2")
    for arguments, sentence in (
        (("set", "3"), "port set, and nothing else, takes what is to be set"),
        (("remove", "3", "--delay", "1ms"), "port set, and nothing else, takes what is to be set"),
        (("set", "3", "--delay", "10"), "'10' is not a number and one of us, ms, s, such as 10ms"),
        (("set", "3", "--loss", "1"), "such as 0.1%"),
        (("set", "3", "--loss", "101%"), "a loss of 1.01: expected a probability"),
        (("set", "3", "--jitter", "1ms"), "expected 0 to the delay"),
        (("set", "3", "--queue-depth", "8", "--priority", "2"), "a port has queues 0 to 1"),
        (("set", "3", "--priority", "1"), "nothing to set"),
    ):
        code, output, errors = port(address, *arguments)
        assert (code, output, errors.count("\n")) == (1, "", 1), errors
        assert errors.startswith("softswitch: ") and sentence in errors
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Set", Struct.SerializeToString, Struct.FromString)
        for fields, words in (
            ({"delay": 3}, "delay: expected numbers for delay_us, jitter_us"),
            ({"delay_us": "3"}, "delay_us: expected numbers"),
            ({"rate_bps": 1.5}, "1.5 is not a whole number"),
            ({"delay_us": 1, "direction": "up"}, "expected out or in"),
        ):
            request = Struct()
            request.update({"port": 3, **fields})
            with pytest.raises(grpc.RpcError) as refused:
                call(request, timeout=60)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT and words in str(refused.value.details())
    assert process.stop()[0] == 0


def test_capture_files_pass_queues_by_their_own_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = PcapWriter(tmp_path / "in.pcap")
    start_ns = 10**18
    for n in range(10):
        writer.write(start_ns + n * 100_000, packet(n))
    writer.close()
    out = tmp_path / "out"
    code = run(
        *(PROGRAMS / "queues.json", "--pcap-in", f"1@{tmp_path}/in.pcap", "--pcap-out", out),
        *("--queue", "2@queue-depth=4,queue-rate=1000", "--link", "2@delay=10ms"),
    )
    assert code == 0
    assert capsys.readouterr().out.startswith("10 packets in, 5 out, 5 dropped, 5 held")
    with PcapReader(out / "2.pcap") as reader:
        left = [(one.time_ns - start_ns, told(one.data).number) for one in reader]
    assert left == [(10_000_000 + n * 1_000_000, n) for n in range(5)]
