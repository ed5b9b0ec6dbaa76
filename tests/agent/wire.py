"""A node's network namespace, and a router's where the switch would stand."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.agent.support import ROOT
from tests.patience import PATIENCE

SERVICE = "10.96.0.9"
NODE_ADDRESS = "10.9.0.11"
GATEWAY = "10.9.0.254"

SET_UP = """
import sys
from pathlib import Path
from greengrass_agent.host.network import NodeNetwork
network = NodeNetwork("10.9.0.11", None, Path(sys.argv[1]))
for step in sys.argv[2:]:
    getattr(network, step)() if ":" not in step else getattr(network, step.split(":")[0])(step.split(":")[1])
"""

ASK = f"""
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("{SERVICE}", 9000))
client.connect(("{SERVICE}", 9000))
for each in (server, client):
    each.settimeout({PATIENCE})
client.send(b"ping")
data, source = server.recvfrom(100)
server.sendto(b"pong " + data, source)
print(client.recv(100).decode(), source[0], client.getpeername()[0])
"""


def inside(namespace: str) -> list[str]:
    """Enter the network namespace only: `ip netns exec` would also hide the control groups."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--"]


@dataclass
class Wire:
    """Two namespaces and what runs in them."""

    node: str
    router: str

    def on(self, namespace: str, *command: str, check: bool = True) -> str:
        done = subprocess.run([*inside(namespace), *command], capture_output=True, text=True, check=False, cwd=ROOT)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def connect(self) -> None:
        """Put a cable between them, with addresses and routes."""
        self.on(self.node, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.router)
        for namespace, address in ((self.node, NODE_ADDRESS), (self.router, GATEWAY)):
            self.on(namespace, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self.on(namespace, "ip", "link", "set", "eth0", "up")
        self.on(self.node, "ip", "route", "add", "default", "via", GATEWAY)
        self.on(self.router, "sysctl", "-qw", "net.ipv4.conf.eth0.send_redirects=0")
        self.on(self.router, "ip", "route", "add", "10.96.0.0/16", "via", NODE_ADDRESS)

    def network(self, saved: Path, *steps: str) -> None:
        self.on(self.node, sys.executable, "-c", SET_UP, str(saved), *steps)

    def picture(self) -> tuple[str, str, str]:
        """Everything that the set-up could change."""
        names = ("rp_filter", "accept_local", "arp_ignore", "arp_announce")
        files = [f"/proc/sys/net/ipv4/conf/{scope}/{name}" for scope in ("all", "eth0") for name in names]
        return (
            self.on(self.node, "ip", "rule", "show"),
            self.on(self.node, "ip", "-o", "-4", "address", "show"),
            self.on(self.node, "cat", *files),
        )

    def forwarded(self) -> int:
        """Datagrams that the router has passed on."""
        lines = [line.split() for line in self.on(self.router, "cat", "/proc/net/snmp").splitlines()]
        names, values = (line for line in lines if line[0] == "Ip:")
        return int(values[names.index("ForwDatagrams")])


@contextmanager
def two_namespaces() -> Iterator[Wire]:
    own = Wire(f"agent-{os.getpid()}-node", f"agent-{os.getpid()}-router")
    try:
        for namespace in (own.node, own.router):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            own.on(namespace, "ip", "link", "set", "lo", "up")
        # The router stands for the switch: what goes to the service comes back to the node.
        own.on(own.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0")
        own.connect()
        yield own
    finally:
        for namespace in (own.node, own.router):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
