"""Frames by the hundred thousand that are spoofed, for other machines, or in tunnels of the sender's own: none gets
anywhere, each is counted by its reason, and honest ones are steered all the while.

`make fuzz` sends a million to each target.
"""

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fuzz.native import Intruder, Native
from tests.packet.bench import Bench
from tests.packet.layout import ANY, CLIENT, GATEWAY, SWITCH_MAC, node_address
from tests.packet.p4runtime import entry
from tests.packet.test_tunnel import tunnel_end

FRAMES = {name: int(os.environ.get("INTRUDERS", few)) for name, few in {"softswitch": 100_000, "bmv2": 4_000}.items()}
ROUNDS = 4
"""Honest requests among them."""


@pytest.mark.timeout(600)
def test_none_gets_anywhere(bench: Bench, tmp_path: Path) -> None:
    service = bench.service(protocol="udp", stale_after=3600, dead_after=7200)
    service.report(0)
    client = bench.client
    for port in bench.wires.interfaces:
        client.insert(
            entry("sources", "speak", match={"port": port, "source": CLIENT}, mac=SWITCH_MAC, address=GATEWAY)
        )
        client.delete(entry("sources", match={"port": port, "source": ANY}))
    client.insert(*tunnel_end(bench))
    intruder = Intruder(bytes(service.datagram()), int(IPv4Address(node_address(0))), start=7)
    native = Native(tmp_path)
    before = {reason: bench.drops(reason) for reason in intruder.expected}
    for _ in range(ROUNDS):
        assert native.feed(bench, intruder, FRAMES[bench.target] // ROUNDS) == 0
        assert service.ask() == 0
    counted = {reason: bench.drops(reason) - count for reason, count in before.items()}
    assert counted == intruder.expected
    assert sum(counted.values()) == FRAMES[bench.target]
    assert min(counted.values()) > FRAMES[bench.target] // 20
    told = service.probe(0)
    assert (told["sent"], told["sequence"]) == (ROUNDS, 1)
