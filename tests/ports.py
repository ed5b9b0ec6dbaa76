"""Ports for tests to bind later."""

import random
import socket

CANDIDATES = range(20_000, 32_000)
"""Below the ports that the kernel gives to clients (net.ipv4.ip_local_port_range), so that none of them takes one
between its choice and its use."""


def free_ports(count: int) -> list[int]:
    """So many ports, all different, that nobody has on any address, neither TCP's nor UDP's."""
    found: set[int] = set()
    chance = random.SystemRandom()  # a test's seed must not lead two runs to the same ports
    while len(found) < count:
        port = chance.choice(CANDIDATES)
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("", port))
                udp.bind(("", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]
