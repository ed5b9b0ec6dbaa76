"""Random, cut and damaged frames by the hundred thousand: the switch lives on, leaks nothing, and counts every one.

`make fuzz` feeds a million.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.entries import Act
from hitless.report import Report
from p4src.build import P4INFO, PIPELINE, ROOT
from softswitch.engine import Engine
from tests.fuzz.native import Fuzzer
from tests.model import world
from tests.model.duel import Duel, Softswitch
from tests.model.names import counter_names
from tests.model.world import CLIENT_PORT, KEYS, MEMBERS, SECOND, SERVICES

FRAMES = int(os.environ.get("FRAMES", "100000"))
LEAK = 256 << 10
"""Bytes by which the process may grow while the same frames come a second time."""


def told(service: world.Kind, member: int, sequence: int) -> bytes:
    """A node's report that all is well."""
    ids = {"service_id": service.service_id, "node_id": member + 1}
    report = Report(**ids, epoch=1, sequence=sequence, ready=True, cpu=member)
    return world.report_frame(report, member, KEYS[0])


@pytest.fixture
def duel() -> Iterator[Duel]:
    """A switch with services under every policy."""
    with Engine(cpu_port=510) as engine:
        names = counter_names((ROOT / P4INFO).read_text())
        duel = Duel(Softswitch(engine, (ROOT / PIPELINE).read_text()), names)
        for place, act in world.fixed_entries():
            duel.write(place, act)
        policies = [Act("spread", (("load_penalty", 0),)), Act("single", (("margin", 0), ("dwell", 0)))]
        policies += [Act("two_choices"), Act("round_robin"), Act("random_choice")]
        for service, policy in zip(SERVICES, policies, strict=True):
            params = {"affinity": service.affinity, "members": 64, "idle_after": SECOND, "stale_after": 2**40}
            params |= {"dead_after": 2**40, "on_no_live": 0, "fallback": world.FALLBACK}
            duel.write(world.of_service("services", service), Act("configure", tuple(params.items())))
            duel.write(world.of_service("policies", service), policy)
            for member in MEMBERS:
                duel.write(world.binding(service, member), world.bind(service, member, 1, 0, 0, member & 1))
                duel.write(world.instance(service, member), world.at_node(member, 1))
                duel.send(world.node_port(member), told(service, member, 1))
        yield duel


def seeds() -> list[tuple[int, bytes]]:
    """Frames of every kind."""
    requests = [
        world.request(service, flow, shape, 64, room, True)
        for service in SERVICES
        for flow in world.flows(service)[:2]
        for shape, room in ((0x102, 0), (0x110, 60))
    ]
    reports = [(world.node_port(m), told(service, m, 2)) for service in SERVICES for m in MEMBERS[:4]]
    others = [world.echo(world.GATEWAY), world.echo(SERVICES[0].address), world.arp(world.GATEWAY)]
    others += [world.ipv4(world.CLIENT, world.FALLBACK, 17, world.udp(1, 2, b"x")), world.arp(world.CLIENT)]
    others += [world.error(frame, 3) for frame in requests[:4]]
    others += [world.tunnelled(frame, world.node_address(0)) for frame in requests[:2]]
    return [*((CLIENT_PORT, frame) for frame in [*requests, *others]), *reports]


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(60 + FRAMES // 1000)
def test_every_frame_is_counted_and_nothing_leaks(duel: Duel, tmp_path: Path) -> None:
    target = duel.target
    assert isinstance(target, Softswitch)
    fuzzer = Fuzzer(tmp_path, seeds())
    drops, events, _ = target.counters(duel.names)
    before = sum(drops.values()) + events["REPORT"]
    half = FRAMES // 2
    first = fuzzer.run(target.engine, half, start=1)
    size = resident()
    second = fuzzer.run(target.engine, half, start=1)
    assert resident() - size < LEAK
    drops, events, steered = target.counters(duel.names)
    assert first.left + first.silent == second.left + second.silent == half
    # What did not leave was dropped for a reason, or was a report that was taken in.
    assert first.silent + second.silent == sum(drops.values()) + events["REPORT"] - before
    assert first.left > half // 10
    assert len(drops) >= 12, f"only {sorted(drops)} were met"
    assert len({index >> 6 for index in steered}) == len(SERVICES)


def test_good_traffic_goes_on_afterwards(duel: Duel, tmp_path: Path) -> None:
    target = duel.target
    assert isinstance(target, Softswitch)
    Fuzzer(tmp_path, seeds()).run(target.engine, FRAMES // 10, start=2)
    for service in SERVICES:
        target.process(duel.now, world.node_port(0), told(service, 0, 3))
        for flow in world.flows(service):
            left = target.process(duel.now, CLIENT_PORT, world.request(service, flow, 0x102))
            assert len(left) == 1, f"service {service.index}: a request left as {left}"
            assert left[0][1][:5].hex() == "0200000001"
