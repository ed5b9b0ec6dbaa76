"""A running switch on real interfaces: ports added, removed, lost and recorded, as a user does and sees it."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from scapy.utils import RawPcapReader
from softswitch.commands.pcap import PcapReader
from softswitch.p4runtime.ports import SERVICE, is_local

from tests.softswitch.native.test_ports import MARK, Wire, copies_packet, eventually, ip, make_wire, wires  # noqa: F401
from tests.softswitch.p4runtime.client import PROGRAMS
from tests.softswitch.test_cli import FREE, Process, Start, start  # noqa: F401 (a fixture)

pytestmark = pytest.mark.root("needs root")

COPIES = str(PROGRAMS / "copies.json")


def port(address: str, *arguments: str) -> tuple[int, str, str]:
    """`softswitch port …`: exit code, output, errors."""
    command = [sys.executable, "-m", "softswitch", "port", *arguments, "--grpc-server-addr", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def begin(start: Start, *arguments: str) -> tuple[Process, str]:  # noqa: F811
    """A switch that runs program `copies`; it sends out of port 4 unless told otherwise."""
    process = start(*arguments, COPIES, "--", "--grpc-server-addr", FREE, "--cpu-port", "510")
    return process, process.address()


def test_ports_come_and_go_while_it_runs(start: Start, wires: list[Wire], tmp_path: Path) -> None:  # noqa: F811
    log = tmp_path / "switch.txt"
    process, address = begin(start, "-i", f"3@{wires[0].name}", "--log-file", str(tmp_path / "switch"))
    wires[0].send(copies_packet(0, 1))
    assert wires[1].receive(0.2) is None
    assert port(address, "add", f"4@{wires[1].name}") == (0, "", "")
    wires[0].send(copies_packet(0, 2))
    while (received := wires[1].receive()) is not None and received[17:] != copies_packet(0, 2):
        pass  # the first one may have been on its way till now
    assert received is not None
    code, listed, _ = port(address, "list")
    assert code == 0
    rows = [line.split() for line in listed.splitlines()]
    assert rows[1:] == [["3", wires[0].name, "up", "0", "0"], ["4", wires[1].name, "up", "0", "0"]]
    assert port(address, "remove", "4") == (0, "", "")
    wires[0].send(copies_packet(0))
    assert wires[1].receive(0.2) is None
    ip("link", "del", wires[0].name)
    eventually(lambda: f"WARNING softswitch.dataplane: port 3 ({wires[0].name}) is down" in log.read_text())
    assert port(address, "list")[1].splitlines()[1].split()[2] == "down"
    assert process.stop()[0] == 0
    text = log.read_text()
    assert f"port 4 is {wires[1].name}" in text and "port 4 is removed" in text


def test_mistakes_get_one_sentence(start: Start, wires: list[Wire]) -> None:  # noqa: F811
    _, address = begin(start, "-i", f"3@{wires[0].name}")
    name = wires[1].name
    for arguments, sentence in (
        (("add", f"3@{name}"), "port 3 is taken"),
        (("add", f"510@{name}"), "port 510 is taken, the CPU port"),
        (("add", "4@nowhere0"), "cannot open interface nowhere0: No such device"),
        (("remove", "4"), "there is no port 4"),
        (("add", "4"), "'4' is not PORT@IFACE, such as 3@veth9"),
        (("remove",), "port remove takes a port number"),
    ):
        code, output, errors = port(address, *arguments)
        assert (code, output, errors.count("\n")) == (1, "", 1), errors
        assert errors.startswith("softswitch: ") and sentence in errors
    request = Struct()
    numbers: tuple[float | str, ...] = (512, -1, 4.5, float("inf"), float("nan"), "4")
    with grpc.insecure_channel(address) as channel:
        for method, number in product(("Add", "Remove"), numbers):
            request.update({"port": number, "interface": name})
            call = channel.unary_unary(f"/{SERVICE}/{method}", Struct.SerializeToString, Struct.FromString)
            with pytest.raises(grpc.RpcError) as refused:
                call(request, timeout=60)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "is not a port number in 0..511" in str(refused.value.details())
    code, _, errors = port("127.0.0.1:1", "list")
    assert code == 1 and "no switch answers at 127.0.0.1:1" in errors


def test_only_the_own_machine_changes_ports(start: Start, wires: list[Wire]) -> None:  # noqa: F811
    """A caller from another address of the network is refused, although P4Runtime is served to it."""
    ip("addr", "add", "198.51.100.1/32", "dev", wires[0].name)
    process = start(COPIES, "--", "--grpc-server-addr", "198.51.100.1:0")
    with grpc.insecure_channel(process.address()) as channel:
        call = channel.unary_unary(f"/{SERVICE}/List", Struct.SerializeToString, Struct.FromString)
        with pytest.raises(grpc.RpcError) as refused:
            call(Struct(), timeout=60)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_client_certificate_opens_it_to_others(start: Start, wires: list[Wire], tmp_path: Path) -> None:  # noqa: F811
    ip("addr", "add", "198.51.100.1/32", "dev", wires[0].name)
    for who in ("server", "client"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=x", "-addext", "subjectAltName=IP:198.51.100.1", "-keyout", f"{who}.key", "-out",
             f"{who}.pem"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    tls = ("--grpc-server-ssl", f"--grpc-server-cert={tmp_path}/server.pem", f"--grpc-server-key={tmp_path}/server.key")
    target = ("--grpc-server-addr", "198.51.100.1:0", *tls)
    clients = (f"--grpc-server-cacert={tmp_path}/client.pem", "--grpc-server-with-client-auth")
    mine = (f"--cacert={tmp_path}/server.pem", f"--cert={tmp_path}/client.pem", f"--key={tmp_path}/client.key")
    closed = start(COPIES, "--", *target).address()
    code, _, errors = port(closed, "list", *mine)
    assert code == 1 and "with a client certificate" in errors, "it was not asked for, so not verified"
    opened = start(COPIES, "--", *target, *clients).address()
    code, output, errors = port(opened, "list", *mine)
    assert (code, errors) == (0, "") and output.startswith(" port interface")


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:40000", True),
        ("ipv6:%5B::1%5D:40000", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:40000", True),
        ("unix:", True),
        ("unix:/run/x", True),
        ("ipv4:10.0.0.1:127", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:40000", False),
        ("unknown", False),
    ],
)
def test_who_is_local(peer: str, local: bool) -> None:
    assert is_local(peer) is local


def marked(path: Path) -> list[bytes]:
    """Packets of a capture file that a test sent, as scapy reads it too."""
    with PcapReader(path) as reader:
        packets = [packet.data for packet in reader]
    assert [data for data, _ in RawPcapReader(str(path))] == packets
    return [data for data in packets if MARK in data]


def test_pcap_records_each_port(start: Start, wires: list[Wire], tmp_path: Path) -> None:  # noqa: F811
    ports = [argument for n, wire in zip((3, 4), wires[:2], strict=True) for argument in ("-i", f"{n}@{wire.name}")]
    process, _ = begin(start, *ports, "--pcap", str(tmp_path))
    names = {f"{wire.name}_{way}.pcap" for wire in wires[:2] for way in ("in", "out")}
    assert {path.name for path in tmp_path.iterdir()} == names
    sent = [copies_packet(0, n, size=60 + n) for n in range(5)]
    left = []
    for data in sent:
        wires[0].send(data)
        received = wires[1].receive()
        assert received is not None
        left.append(received)
    # BMv2's are readable while it runs, and so are these
    assert marked(tmp_path / f"{wires[0].name}_in.pcap") == sent
    assert marked(tmp_path / f"{wires[1].name}_out.pcap") == left
    assert marked(tmp_path / f"{wires[0].name}_out.pcap") == marked(tmp_path / f"{wires[1].name}_in.pcap") == []
    far = wires[1].far.getsockname()[0]
    ip("link", "del", wires[1].name)
    wires[1].far.close()
    wires[1] = make_wire(1)
    assert wires[1].far.getsockname()[0] == far

    def passes() -> bool:
        wires[0].send(copies_packet(0, 99))
        return wires[1].receive(0.05) is not None

    eventually(passes)
    out = marked(tmp_path / f"{wires[1].name}_out.pcap")
    assert out[:5] == left and len(out) > 5, "the files go on when the interface comes back"
    assert process.stop()[0] == 0
