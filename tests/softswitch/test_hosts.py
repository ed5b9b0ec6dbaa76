"""Two hosts in network namespaces of their own, with every offload that veth has on, across a plain L2 program."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from experiments.bench import l2
from tests.packet.wires import in_namespace
from tests.patience import PATIENCE, until
from tests.softswitch.native.test_ports import ip
from tests.softswitch.test_cli import FREE, Start, start  # noqa: F401 (a fixture)
from tests.softswitch.test_ports_live import port

pytestmark = pytest.mark.root("needs root")

UDP_SEGMENT = 103
ADVICE = "ethtool -K {} tso off gso off gro off tx-udp-segmentation off"
MSS = 1200
ADDRESSES = {socket.AF_INET: ("10.0.0.1", "10.0.0.2"), socket.AF_INET6: ("fd00::1", "fd00::2")}
TCP_PORT = 5000


@dataclass
class Hosts:
    """Namespaces `names`, whose interface `e0` is wired to the switch's `ports`."""

    names: tuple[str, str] = field(default_factory=lambda: (f"hosts{os.getpid()}a", f"hosts{os.getpid()}b"))
    ports: tuple[str, str] = field(default_factory=lambda: (f"hs{os.getpid()}a", f"hs{os.getpid()}b"))

    def lay(self) -> None:
        """Make all of it."""
        for number, (name, near) in enumerate(zip(self.names, self.ports, strict=True)):
            ip("netns", "add", name)
            ip("link", "add", near, "type", "veth", "peer", "name", "e0", "netns", name)
            ip("link", "set", near, "addrgenmode", "none", "up")
            ip("-n", name, "link", "set", "e0", "address", l2.MACS[number], "up")
            ip("-n", name, "address", "add", f"{ADDRESSES[socket.AF_INET][number]}/24", "dev", "e0")
            ip("-n", name, "address", "add", f"{ADDRESSES[socket.AF_INET6][number]}/64", "dev", "e0", "nodad")

    def remove(self) -> None:
        """Remove all of it."""
        for near, name in zip(self.ports, self.names, strict=True):
            subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def socket(self, host: int, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A socket of a host."""

        def make() -> socket.socket:
            made = socket.socket(family, kind)
            made.settimeout(PATIENCE)
            return made

        return in_namespace(self.names[host], make)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        made.lay()
        yield made
    finally:
        made.remove()


@pytest.fixture(params=["af_packet", "af_xdp"])
def switch(hosts: Hosts, start: Start, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], tuple[str, str]]:  # noqa: F811
    """The L2 program between the hosts; call it for `softswitch port list` and the log."""
    log = tmp_path / "switch.txt"
    interfaces = [word for n, name in enumerate(hosts.ports, start=1) for word in ("-i", f"{n}@{name}")]
    process = start(
        "--io",
        request.param,
        "--log-file",
        str(log.with_suffix("")),
        *interfaces,
        str(l2.PROGRAM),
        "--",
        "--grpc-server-addr",
        FREE,
    )
    address = process.address()
    return lambda: (port(address, "list")[1], log.read_text())


def transfer(hosts: Hosts, family: socket.AddressFamily, data: bytes) -> bytes:
    """Send data from the first host to the second by TCP; what arrived."""
    received = bytearray()
    with closing(hosts.socket(1, family, socket.SOCK_STREAM)) as listening:
        listening.bind((ADDRESSES[family][1], TCP_PORT))
        listening.listen()

        def take() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while part := connection.recv(1 << 20):
                    received.extend(part)

        taker = threading.Thread(target=take)
        taker.start()
        with closing(hosts.socket(0, family, socket.SOCK_STREAM)) as sending:
            sending.connect((ADDRESSES[family][1], TCP_PORT))
            sending.sendall(data)
        taker.join()
    return bytes(received)


def retransmitted(name: str) -> int:
    """Segments that a host sent again."""
    lines = in_namespace(name, Path("/proc/thread-self/net/snmp").read_text).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])


def test_tcp_and_udp_between_hosts_with_all_offloads_on(hosts: Hosts, switch: Callable[[], tuple[str, str]]) -> None:
    """Without the switch's work no handshake would end: each segment leaves a host with half a checksum."""
    data = random.Random(13).randbytes(8 << 20)
    for family in ADDRESSES:
        arrived = transfer(hosts, family, data)
        assert hashlib.sha256(arrived).digest() == hashlib.sha256(data).digest()
    assert retransmitted(hosts.names[0]) < len(data) // 1448 // 10, "TCP's recovery is not what carries the data"
    for family, addresses in ADDRESSES.items():
        with (
            closing(hosts.socket(1, family, socket.SOCK_DGRAM)) as taking,
            closing(hosts.socket(0, family, socket.SOCK_DGRAM)) as sending,
        ):
            taking.bind((addresses[1], TCP_PORT))
            sending.connect((addresses[1], TCP_PORT))
            for size in (0, 1, 1000, 9000):  # the last one in fragments
                sending.send(data[:size])
                assert taking.recv(1 << 16) == data[:size]
            sending.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, MSS)
            sending.send(data[: 10 * MSS + 7])
            parts = [taking.recv(1 << 16) for _ in range(11)]
            assert b"".join(parts) == data[: 10 * MSS + 7] and len(parts[0]) == MSS
    listed, log = switch()
    assert [line.split()[2:] for line in listed.splitlines()[1:]] == [["up", "0", "0"]] * 2
    assert "offload" not in log


@pytest.mark.parametrize("switch", ["af_packet"], indirect=True)
def test_the_mtu_may_be_raised_while_it_runs(hosts: Hosts, switch: Callable[[], tuple[str, str]]) -> None:
    for name, near in zip(hosts.names, hosts.ports, strict=True):
        ip("-n", name, "link", "set", "e0", "mtu", "9000")
        ip("link", "set", near, "mtu", "9000")
    addresses = ADDRESSES[socket.AF_INET]
    with (
        closing(hosts.socket(1, socket.AF_INET, socket.SOCK_DGRAM)) as taking,
        closing(hosts.socket(0, socket.AF_INET, socket.SOCK_DGRAM)) as sending,
    ):
        taking.bind((addresses[1], TCP_PORT))
        taking.settimeout(0.2)
        sending.connect((addresses[1], TCP_PORT))

        def passes() -> bool:
            sending.send(bytes(8900))
            try:
                return len(taking.recv(1 << 16)) == 8900
            except TimeoutError:
                return False

        until(passes, "a datagram of the new MTU")
    assert transfer(hosts, socket.AF_INET, bytes(1 << 20)) == bytes(1 << 20)


@pytest.mark.parametrize("switch", ["af_xdp"], indirect=True)
def test_an_mtu_that_af_xdp_cannot_take_closes_the_port_and_says_so(
    hosts: Hosts, switch: Callable[[], tuple[str, str]]
) -> None:
    ip("link", "set", hosts.ports[0], "mtu", "9000")
    told = (
        f"port 1 ({hosts.ports[0]}) is closed until its MTU changes again: 9000 bytes: --io af_xdp takes one of at most"
    )
    until(lambda: told in switch()[1], "the log says it")
    ip("link", "set", hosts.ports[0], "mtu", "1500")
    until(lambda: switch()[0].splitlines()[1].split()[2] == "up", "the port comes back")
    assert transfer(hosts, socket.AF_INET, b"x") == b"x"


@pytest.mark.parametrize("switch", ["af_packet"], indirect=True)
def test_what_cannot_be_cut_is_counted_and_explained_once(hosts: Hosts, switch: Callable[[], tuple[str, str]]) -> None:
    """A tunnel whose packets the host leaves to the card as well."""
    name, (here, there) = hosts.names[0], ADDRESSES[socket.AF_INET]
    ip(
        "-n",
        name,
        "link",
        "add",
        "tunnel",
        "type",
        "vxlan",
        "id",
        "1",
        "local",
        here,
        "remote",
        there,
        "dstport",
        "4789",
    )
    ip("-n", name, "address", "add", "10.0.1.1/24", "dev", "tunnel")
    ip("-n", name, "link", "set", "tunnel", "up")
    ip("-n", name, "neighbor", "add", "10.0.1.2", "lladdr", l2.MACS[1], "dev", "tunnel")
    ip("-n", name, "neighbor", "add", there, "lladdr", l2.MACS[1], "dev", "e0")
    with closing(hosts.socket(0, socket.AF_INET, socket.SOCK_DGRAM)) as sending:
        sending.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, MSS)
        for count in (1, 2):
            sending.sendto(bytes(10 * MSS), ("10.0.1.2", TCP_PORT))
            until(lambda count=count: switch()[0].splitlines()[1].split()[3] == str(count), "the frame is counted")
        advice = f"{ADVICE.format(hosts.ports[0])}, on both ends"
        until(lambda: advice in switch()[1], "the log says what to do")
        in_namespace(name, lambda: subprocess.run(ADVICE.format("e0").split(), check=True))
        sending.sendto(bytes(10 * MSS), ("10.0.1.2", TCP_PORT))
    assert transfer(hosts, socket.AF_INET, b"x") == b"x"
    listed, log = switch()
    assert listed.splitlines()[1].split()[3] == "2", "the advice helps"
    assert log.count(advice) == 1


def test_an_interface_is_one_port_only(hosts: Hosts, start: Start) -> None:  # noqa: F811
    near, other = hosts.ports
    ip("link", "property", "add", "dev", near, "altname", f"{near}other")
    for name in (near, f"{near}other"):
        process = start("-i", f"1@{near}", "-i", f"2@{name}", "--no-p4", "--", "--grpc-server-addr", FREE)
        _, errors = process.popen.communicate(timeout=PATIENCE)
        code = process.popen.returncode
        assert code == 1 and errors.count("\n") == 1
        assert f"interface {name} cannot be port 2" in errors and "port 1" in errors and "already" in errors
    address = start("-i", f"1@{near}", "--no-p4", "--", "--grpc-server-addr", FREE).address()
    code, _, errors = port(address, "add", f"2@{near}")
    assert code == 1 and f"interface {near} is port 1 already" in errors
    assert port(address, "add", f"2@{other}")[0] == 0
