"""The packet thread on real interfaces: forwarding, VLAN tags, changes while it runs, interfaces that come and go."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from finsy.proto import p4r
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether
from softswitch.bmv2.match import Exact
from softswitch.engine.engine import Engine
from softswitch.engine.events import PacketInEvent, PortEvent
from softswitch.p4runtime.device import Device

from tests.softswitch.native.bmv2 import PROGRAMS
from tests.softswitch.native.conftest import CPU_PORT
from tests.softswitch.native.writes import Entry, Writes
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import insert, modify

pytestmark = pytest.mark.root("needs root")
PATIENCE_S = 60.0
"""Until what must happen is taken not to happen, however busy the machine."""


def ip(*words: str) -> None:
    """Runs iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def eventually(condition: Callable[[], bool]) -> None:
    """Fails when the condition does not come true in time."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@dataclass
class Wire:
    """A veth pair: the switch's end, and a raw socket on the other."""

    name: str
    far: socket.socket

    def send(self, data: bytes) -> None:
        """A frame towards the switch."""
        self.far.send(data)

    def receive(self, timeout: float = PATIENCE_S) -> bytes | None:
        """The next frame from the switch that a test sent (others carry the kernel's IPv6 chatter)."""
        end = time.monotonic() + timeout
        while select.select([self.far], [], [], max(0.0, end - time.monotonic()))[0]:
            data: bytes = self.far.recv(70000)
            if MARK in data:
                return data
        return None


MARK = b"softswitch-test"
BURST = 900
"""Frames at once: the kernel's queue behind a veth holds 1000 where its softirqs are late."""

every_way = pytest.mark.parametrize(
    "switch", [{}, {"io": "af_xdp"}, {"busy_poll": True}], indirect=True, ids=["default", "af_xdp", "busy-poll"]
)


def make_wire(number: int) -> Wire:
    """Creates the pair."""
    near, far = f"ss{os.getpid() % 100000}n{number}", f"ss{os.getpid() % 100000}f{number}"
    ip("link", "add", near, "type", "veth", "peer", "name", far)
    for end in (near, far):
        ip("link", "set", end, "addrgenmode", "none", "up")
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
    raw.bind((far, 0))
    return Wire(near, raw)


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    made: list[Wire] = []
    try:
        for number in range(3):
            made.append(make_wire(number))
        yield made
    finally:
        for wire in made:
            wire.far.close()
            subprocess.run(["ip", "link", "del", wire.name], check=False, capture_output=True)


@pytest.fixture
def switch(wires: list[Wire], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Program `copies` on ports 3, 4 and 5; it sends out of port 4 unless told otherwise. Parameter: arguments."""
    with Engine(cpu_port=CPU_PORT, **getattr(request, "param", {})) as engine:
        engine.load((PROGRAMS / "copies.json").read_text())
        for port, wire in zip((3, 4, 5), wires, strict=True):
            engine.add_port(port, wire.name)
        engine.start()
        eventually(lambda: all(up for _, up in engine.ports().values()))
        engine.read_events()
        yield engine


def copies_packet(op: int, arg: int = 0, group: int = 0, size: int = 60) -> bytes:
    """A frame of program `copies`; it need not look like Ethernet to a veth."""
    return struct.pack(">BBH", op, arg, group) + MARK.ljust(size, b".")


@every_way
def test_forwards(switch: Engine, wires: list[Wire]) -> None:
    for size in (60, 1400):
        wires[0].send(copies_packet(0, size=size))
        data = wires[1].receive()
        assert data is not None and data[17:] == copies_packet(0, size=size)
        assert struct.unpack(">IHH", data[:8]) == (0, 3, 4)
    assert wires[0].receive(0.05) is None and wires[2].receive(0.05) is None


def test_multicast_with_payload(switch: Engine, wires: list[Wire]) -> None:
    switch.set_multicast_group(1, [(4, 1), (5, 2), (CPU_PORT, 3), (77, 4)])
    wires[0].send(copies_packet(3, 0, 1))
    for wire, instance in ((wires[1], 1), (wires[2], 2)):
        data = wire.receive()
        assert data is not None and struct.unpack(">H", data[8:10]) == (instance,)
    events = [e for e in switch.read_events() if isinstance(e, PacketInEvent)]
    assert [e.data[8:10] for e in events if MARK in e.data] == [b"\0\3"]


def test_packet_out_leaves_through_a_port(switch: Engine, wires: list[Wire]) -> None:
    switch.packet_out(copies_packet(0))
    data = wires[1].receive()
    assert data is not None and struct.unpack(">IHH", data[:8]) == (0, CPU_PORT, 4)


@pytest.mark.parametrize("switch", [{}, {"io": "af_xdp"}], indirect=True, ids=["default", "af_xdp"])
def test_recirculated_packet_leaves_whole(switch: Engine, wires: list[Wire]) -> None:
    for round_ in range(5):
        wires[0].send(copies_packet(7, 3, round_, size=900))
    for round_ in range(5):
        data = wires[1].receive()
        assert data is not None and data[17:] == copies_packet(7, 3, round_, size=900)


@every_way
def test_burst_keeps_order_and_loses_nothing(switch: Engine, wires: list[Wire]) -> None:
    wires[1].far.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    for number in range(BURST):
        wires[0].send(copies_packet(0, number % 256, number // 256))
    for number in range(BURST):
        data = wires[1].receive()
        assert data is not None
        assert data[17:21] == struct.pack(">BBH", 0, number % 256, number // 256)
    assert switch.port_losses() == {3: (0, 0), 4: (0, 0), 5: (0, 0)}


def test_vlan_tag_survives(switch: Engine, wires: list[Wire]) -> None:
    """The kernel takes a tag out of a frame it delivers; the program must see it in its place."""
    frame = b"\0\0\0\0\0\2" + b"\2\0\0\0\0\1" + struct.pack(">HHH", 0x8100, 5, 0x88B5) + MARK.ljust(60, b".")
    wires[0].send(frame)
    data = wires[1].receive()
    assert data is not None
    assert data[17:] == frame


def send_unfinished(wire: Wire, data: bytes, start: int, share: int) -> None:
    """A frame as a host gives it to a card that computes checksums and cuts: TCP begins at `start`, and each packet is
    to carry `share` bytes of what follows it."""
    offloads = struct.pack("=BBHHHH", NEEDS_CHECKSUM, GSO_TCPV4, start + 20, share, start, 16)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        raw.bind((wire.far.getsockname()[0], 0))
        raw.send(offloads + data)


NEEDS_CHECKSUM, GSO_TCPV4 = 1, 1
SHARE = 90 * len(MARK)


@every_way
def test_what_was_left_to_a_card_is_done_behind_a_vlan_tag_too(switch: Engine, wires: list[Wire]) -> None:
    """More packets than a burst takes, whose tags the kernel has moved out of the frame."""
    head = Ether(src="02:00:00:00:00:01", dst="00:00:00:00:00:02") / Dot1Q(vlan=5)
    body = MARK * 90 * 40
    whole = head / IP(src="10.0.0.1", dst="10.0.0.2", id=7) / TCP(sport=1, dport=2, seq=5, flags="A")
    send_unfinished(wires[0], bytes(whole / body), len(whole) - 20, SHARE)
    for number in range(40):
        data = wires[1].receive()
        assert data is not None
        part = whole.copy()
        part[IP].id += number
        part[TCP].seq += number * SHARE
        assert data[17:] == bytes(part / body[:SHARE])
    assert switch.port_losses() == {3: (0, 0), 4: (0, 0), 5: (0, 0)}


def test_frames_of_a_raised_mtu_pass(switch: Engine, wires: list[Wire]) -> None:
    for wire in wires[:2]:
        for end in (wire.name, wire.far.getsockname()[0]):
            ip("link", "set", end, "mtu", "9000")

    def passes(size: int) -> bool:
        """Not at once: what comes in while the rings change is lost."""
        wires[0].send(copies_packet(0, size=size))
        data = wires[1].receive(0.05)
        return data is not None and data[17:] == copies_packet(0, size=size)

    for size in (5000, 8900, 60):
        eventually(lambda size=size: passes(size))


def test_control_calls_while_packets_flow(switch: Engine, wires: list[Wire]) -> None:
    """Many threads' calls and a packet stream at once: every call is answered, every packet forwarded."""
    stop, failures = threading.Event(), []

    def churn(group: int) -> None:
        try:
            while not stop.is_set():
                switch.set_multicast_group(group, [(5, group)])
                assert switch.process(3, copies_packet(3, 0, group))[0][0] == 5
                switch.delete_multicast_group(group)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(group,)) for group in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        wires[0].send(copies_packet(0, number % 256))
        data = wires[1].receive()
        assert data is not None and data[18] == number % 256
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_program_replaced_while_packets_flow(switch: Engine, wires: list[Wire]) -> None:
    text = (PROGRAMS / "copies.json").read_text()
    done = threading.Event()

    def replace() -> None:
        for _ in range(20):
            switch.load(text)
        done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    sent = 0
    while not done.is_set() or sent < 200:
        wires[0].send(copies_packet(0, sent % 256))
        data = wires[1].receive()
        assert data is not None and data[18] == sent % 256
        sent += 1
    thread.join()


@every_way
def test_interface_vanishes_and_comes_back(switch: Engine, wires: list[Wire]) -> None:
    name = wires[1].name
    ip("link", "del", name)
    eventually(lambda: not switch.ports()[4][1])
    assert PortEvent(4, name, False) in switch.read_events()
    wires[0].send(copies_packet(0))
    switch.set_multicast_group(1, [(4, 1), (5, 2)])
    wires[0].send(copies_packet(3, 0, 1))
    assert wires[2].receive() is not None, "the other ports go on"
    wires[1].far.close()
    wires[1] = make_wire(1)
    eventually(lambda: switch.ports()[4][1])
    assert PortEvent(4, name, True) in switch.read_events()
    wires[0].send(copies_packet(0))
    assert wires[1].receive() is not None


def test_link_down_and_up(switch: Engine, wires: list[Wire]) -> None:
    ip("link", "set", wires[0].name, "down")
    eventually(lambda: not switch.ports()[3][1])
    ip("link", "set", wires[0].name, "up")
    eventually(lambda: switch.ports()[3][1])
    assert [e.up for e in switch.read_events() if isinstance(e, PortEvent)] == [False, True]
    wires[0].send(copies_packet(0))
    assert wires[1].receive() is not None


def test_ports_added_and_removed_while_running(switch: Engine, wires: list[Wire]) -> None:
    switch.remove_port(4)
    switch.set_multicast_group(1, [(4, 1), (5, 2)])
    wires[0].send(copies_packet(3, 0, 1))
    assert wires[2].receive() is not None
    assert wires[1].receive(0.05) is None
    switch.add_port(4, wires[1].name)
    wires[0].send(copies_packet(0))
    assert wires[1].receive() is not None
    for number, name in ((4, wires[1].name), (CPU_PORT, wires[1].name), (511, wires[1].name)):
        with pytest.raises(ValueError, match=f"port {number}"):
            switch.add_port(number, name)
    with pytest.raises(OSError, match="cannot open interface nowhere0"):
        switch.add_port(9, "nowhere0")
    with pytest.raises(KeyError):
        switch.remove_port(9)


def test_idle_thread_sleeps(switch: Engine) -> None:
    """No packet, no work: a thread that polled in a loop would use the whole second."""
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("switch", [{"busy_poll": True}], indirect=True, ids=["busy-poll"])
def test_busy_thread_never_sleeps(switch: Engine) -> None:

    def of_others() -> float:
        return time.process_time() - time.thread_time()

    before = of_others()
    eventually(lambda: of_others() - before > 0.3)


@pytest.mark.parametrize(
    ("switch", "seen"), [({}, True), ({"io": "af_xdp"}, False)], indirect=["switch"], ids=["default", "af_xdp"]
)
def test_who_else_sees_a_frame_leave(switch: Engine, wires: list[Wire], seen: bool) -> None:
    """A packet socket on the switch's own interface, as tcpdump has it, sees what takes the usual way and only that."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
        tap.bind((wires[1].name, 3))
        wires[0].send(copies_packet(0))
        assert wires[1].receive() is not None
        assert (Wire(wires[1].name, tap).receive(PATIENCE_S if seen else 0.05) is not None) is seen


@pytest.mark.parametrize("switch", [{"io": "af_xdp"}], indirect=True, ids=["af_xdp"])
def test_what_cannot_leave_by_xdp_is_counted_and_never_leaves_late(switch: Engine, wires: list[Wire]) -> None:
    ip("link", "set", wires[1].name, "down")
    eventually(lambda: not switch.ports()[4][1])
    for sent in (BURST, 2 * BURST):
        for number in range(BURST):
            wires[0].send(copies_packet(0, number % 256))
        eventually(lambda sent=sent: switch.port_losses()[4] == (0, sent))
    ip("link", "set", wires[1].name, "up")
    eventually(lambda: switch.ports()[4][1])
    wires[0].send(copies_packet(0, 7, 999))
    data = wires[1].receive()
    assert data is not None and data[17:] == copies_packet(0, 7, 999)


def test_table_change_takes_effect_between_packets(wires: list[Wire]) -> None:
    names = Names.of("matching")
    with Engine() as engine:
        device = Device(1, engine, Engine, None)
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
        for port, wire in zip((1, 3), wires, strict=False):
            engine.add_port(port, wire.name)
        engine.start()
        packet = struct.pack(">BBHI", 5, 1, 0, 0) + bytes(16) + MARK
        for value in range(1, 50):
            entity = Writes(names.p4info).entity(Entry("I.managed", (Exact(1),), 1, "I.answer", (value,)))
            write = p4r.WriteRequest(updates=[insert(entity) if value == 1 else modify(entity)])
            assert device.write(write.updates, write.atomicity, write.SerializeToString()) == [None]
            wires[0].send(packet)
            data = wires[1].receive()
            assert data is not None and struct.unpack(">I", data[24:28]) == (value,)
        device.close()
