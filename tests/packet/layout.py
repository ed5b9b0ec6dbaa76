"""What is around the switch under test, and what every test's entries know.

Port 1 has a client, ports 2 to 4 have nodes. Member m of any service is an instance on a node of its own, with address
10.0.1.m behind port 2 + m % 3, so the destination MAC of a steered frame says which member it went to.
"""

from __future__ import annotations

from hitless.words import REPORT_ADDRESS, REPORT_PORT

PORTS = 4
CLIENT_PORT = 1
SWITCH_MAC = "02:00:00:00:ff:fe"
GATEWAY = "10.0.0.254"
CLIENT = "10.0.0.1"
CLIENT_MAC = "02:00:00:00:00:01"
FALLBACK = "10.0.0.9"
FALLBACK_MAC = "02:00:00:00:00:09"
ANY = "0.0.0.0/0"
"""Every address, as a prefix."""
REPORTS = (str(REPORT_ADDRESS), REPORT_PORT)


def node_address(member: int) -> str:
    """The address of the node that has every service's instance `member`."""
    return f"10.0.1.{member}"


def node_port(member: int) -> int:
    """The port that node is behind."""
    return 2 + member % 3


def node_mac(member: int) -> str:
    """That node's MAC address."""
    return f"02:00:00:00:01:{member:02x}"
