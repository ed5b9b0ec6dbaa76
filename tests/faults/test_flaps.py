"""What a flap leaves behind: what the kernel dropped is set again, and own calls of the node are steered as before."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.support import ROOT, child
from tests.agent.wire import ASK, GATEWAY, NODE_ADDRESS, SERVICE, Wire, inside, two_namespaces
from tests.patience import until

pytestmark = pytest.mark.root("namespaces need root")

OTHER_GATEWAY = "10.9.0.1"
KEEP = f"""
import asyncio, sys
from pathlib import Path
from greengrass_agent.host import network_watch
from greengrass_agent.host.network import NodeNetwork
from greengrass_agent.logs.diagnostics import log_to_stderr
log_to_stderr("INFO", "%(message)s")
network = NodeNetwork("{NODE_ADDRESS}", None, Path(sys.argv[1]))
network.set_up()
network.add("{SERVICE}")
print("up", flush=True)
asyncio.run(network_watch.keep(network))
"""


def link_down_and_up(wire: Wire) -> None:
    wire.on(wire.node, "ip", "link", "set", "eth0", "down")
    wire.on(wire.node, "ip", "link", "set", "eth0", "up")
    wire.on(wire.node, "ip", "route", "add", "default", "via", GATEWAY)  # as a network manager does


def interface_gone_and_back(wire: Wire) -> None:
    wire.on(wire.node, "ip", "link", "del", "eth0")
    wire.connect()


def node_address_gone_and_back(wire: Wire) -> None:
    wire.on(wire.node, "ip", "address", "del", f"{NODE_ADDRESS}/24", "dev", "eth0")
    wire.on(wire.node, "ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "eth0")
    wire.on(wire.node, "ip", "route", "add", "default", "via", GATEWAY)


def what_the_agent_set_removed(wire: Wire) -> None:
    wire.on(wire.node, "ip", "rule", "add", "pref", "0", "lookup", "local")
    wire.on(wire.node, "ip", "rule", "del", "pref", "100")
    wire.on(wire.node, "ip", "rule", "del", "pref", "200")
    wire.on(wire.node, "ip", "route", "flush", "table", "10960")
    wire.on(wire.node, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.accept_local=0")
    wire.on(wire.node, "ip", "address", "del", f"{SERVICE}/32", "dev", "lo")


@contextmanager
def kept(wire: Wire, saved: Path) -> Iterator[Callable[[], str]]:
    """The agent's watch over the node's network; gives what it has said."""
    log = saved.with_name("log")
    command = [*inside(wire.node), sys.executable, "-c", KEEP, str(saved)]
    with (
        log.open("wb") as output,
        child(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output) as running,
    ):
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n", log.read_text()
        yield log.read_text


@pytest.mark.parametrize(
    "flap", [link_down_and_up, interface_gone_and_back, node_address_gone_and_back, what_the_agent_set_removed]
)
def test_all_that_the_agent_set_is_set_again(flap: Callable[[Wire], None], tmp_path: Path) -> None:
    def picture() -> tuple[str, ...]:
        return (*wire.picture()[::2], wire.on(wire.node, "ip", "route", "show", "table", "10960", check=False))

    with two_namespaces() as wire, kept(wire, tmp_path / "saved") as said:
        before = picture()
        flap(wire)
        until(lambda: picture() == before, "everything as before")
        until(lambda: SERVICE in wire.picture()[1], "the service's address")
        passed = wire.forwarded()
        assert wire.on(wire.node, sys.executable, "-c", ASK).split() == ["pong", "ping", NODE_ADDRESS, SERVICE]
        assert wire.forwarded() - passed == 1, "its own calls pass the switch"
        assert "set again: ip route replace default" in said()


def test_own_calls_follow_the_default_route_and_a_node_without_one_is_told(tmp_path: Path) -> None:
    with two_namespaces() as wire, kept(wire, tmp_path / "saved") as said:
        wire.on(wire.router, "ip", "address", "add", f"{OTHER_GATEWAY}/24", "dev", "eth0")
        wire.on(wire.node, "ip", "route", "del", "default")
        until(lambda: "the node has no default route" in said(), "told")
        wire.on(wire.node, "ip", "route", "add", "default", "via", OTHER_GATEWAY)
        until(lambda: f"via {OTHER_GATEWAY}" in wire.on(wire.node, "ip", "route", "get", SERVICE), "the new way")
        until(lambda: "the node's network is as it must be again" in said(), "and that it is over")
        assert said().count("the node has no default route") == 1
