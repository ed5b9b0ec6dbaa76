"""The tools with which people look at a network end where it does, over a switch between two kernels."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from hitless.words import PacketOutOp
from tests.packet.bench import Bench
from tests.packet.layout import CLIENT, CLIENT_MAC, CLIENT_PORT, GATEWAY, node_address, node_mac, node_port
from tests.packet.wires import command_inside, inside, run
from topologies import targets

NODE = 1
"""The member whose node is a kernel; the client is the other one."""
HOP = re.compile(r"^ *(\d+)[:?]* +(\S+)", re.MULTILINE)


pytestmark = pytest.mark.root("needs root for network namespaces and raw sockets")


@pytest.fixture(scope="module", params=targets.NAMES)
def between(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A target of this module's own, with kernels behind two of its ports."""
    if reason := targets.missing(request.param):
        pytest.skip(reason)
    if not (shutil.which("traceroute") and shutil.which("tracepath")):
        pytest.skip("needs traceroute and tracepath: `make setup` installs them")
    with Bench(request.param) as bench:
        client, node = f"{bench.wires.name}-c", f"{bench.wires.name}-n"
        for name, port, address, mac in (
            (client, CLIENT_PORT, CLIENT, CLIENT_MAC),
            (node, node_port(NODE), node_address(NODE), node_mac(NODE)),
        ):
            run("ip", "netns", "add", name)
            request.addfinalizer(lambda name=name: run("ip", "netns", "del", name))  # type: ignore[misc]
            end = f"t{port}"
            inside("ip", "link", "set", end, "netns", name, netns=bench.wires.name)
            # The kernels answer each probe, however many tests there were.
            inside("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.icmp_ratelimit=0", netns=name)
            inside("ip", "link", "set", end, "address", mac, "up", netns=name)
            inside("ip", "link", "set", "lo", "up", netns=name)
            inside("ip", "address", "add", f"{address}/32", "dev", end, netns=name)
            inside("ip", "route", "add", GATEWAY, "dev", end, netns=name)
            inside("ip", "route", "add", "default", "via", GATEWAY, "src", address, netns=name)
        yield bench


def hops(bench: Bench, *command: str) -> list[str]:
    """The addresses that a tool finds on its way from the client, in order."""
    line = command_inside(f"{bench.wires.name}-c", command)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)
    found: dict[int, str] = {}
    for number, address in HOP.findall(done.stdout.partition("\n")[2] if command[0] == "traceroute" else done.stdout):
        if address[0].isdigit():
            found[int(number)] = address
    assert found, done.stdout + done.stderr
    return [found[number] for number in sorted(found)]


TRACEROUTE = ("traceroute", "-n", "-q", "1", "-w", "3", "-m", "6")
TRACEPATH = ("tracepath", "-n", "-m", "6")


@pytest.mark.parametrize("tool", [TRACEROUTE, (*TRACEROUTE, "-I"), TRACEPATH], ids=["udp", "icmp", "tracepath"])
def test_to_a_host(between: Bench, tool: tuple[str, ...]) -> None:
    assert hops(between, *tool, node_address(NODE)) == [GATEWAY, node_address(NODE)]


@pytest.mark.parametrize("tool", [TRACEROUTE, TRACEPATH], ids=["traceroute", "tracepath"])
def test_to_the_switch(between: Bench, tool: tuple[str, ...]) -> None:
    assert hops(between, *tool, GATEWAY) == [GATEWAY]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_to_a_service_by_its_port_it_ends_at_the_instance(between: Bench, protocol: str) -> None:
    service = between.service(protocol=protocol, affinity=1, members=2)
    between.client.packet_out(
        bytes(service.report_frame(NODE, service.payload(NODE))),
        op=PacketOutOp.INJECT, port=node_port(NODE), service=0, member=0,
    )  # fmt: skip
    inside("ip", "address", "add", f"{service.address}/32", "dev", "lo", netns=f"{between.wires.name}-n")
    way = ("-U",) if protocol == "udp" else ("-T",)
    assert hops(between, *TRACEROUTE, *way, "-p", str(service.port), service.address) == [GATEWAY, service.address]


def test_to_a_service_by_another_port_the_switch_ends_it_in_the_services_name(between: Bench) -> None:
    address = between.service().address
    assert hops(between, *TRACEROUTE, address) == [address]


def test_to_where_nothing_is_it_says_so(between: Bench) -> None:
    line = command_inside(f"{between.wires.name}-c", [*TRACEROUTE, "10.96.99.99"])
    assert "!H" in subprocess.run(line, capture_output=True, text=True, check=False, timeout=30).stdout
