"""Random, cut and damaged frames by the hundred thousand: the switch lives on, leaks nothing, and counts every one.

softswitch gets them in this process, where it is fastest, BMv2 on its wires. `make fuzz` feeds each a million.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from softswitch.engine.engine import Engine

from controller.switches.entries import Act
from hitless.steering.policies import Single
from hitless.wire.report import Report
from hitless.words import FLOWS_PER_WAY
from p4src.build import P4INFO, PIPELINE, ROOT
from tests.fuzz.native import Frame, Mutator, Native
from tests.model import world
from tests.model.duel import Counts, Duel, Softswitch
from tests.model.names import counter_names
from tests.model.wire import Bare, Wire
from tests.model.world import CLIENT_PORT, KEYS, MEMBERS, SECOND, SERVICES
from tests.packet.clock import Clock
from topologies import targets

FRAMES = int(os.environ.get("FRAMES", "100000"))
LEAK = {"softswitch": 256 << 10, "bmv2": 1 << 20}
"""Bytes by which the process may grow while the same frames come once more."""
AGAIN = 4
"""So often they come at most. What queued for once on a busy machine has taken memory for good; a leak takes it each
time."""


def told(service: world.Kind, member: int, sequence: int) -> bytes:
    """A node's report that all is well."""
    ids = {"service_id": service.service_id, "node_id": member + 1}
    report = Report(**ids, epoch=1, sequence=sequence, ready=True, cpu=member)
    return world.report_frame(report, member, KEYS[0])


class Fed:
    """A switch with services under every policy, and how it is fed."""

    def __init__(self, target: Softswitch | Wire, native: Native, process: int) -> None:
        self.target = target
        self.duel = Duel(target, counter_names((ROOT / P4INFO).read_text()))
        self._native = native
        self._process = process
        for place, act in world.fixed_entries():
            self.duel.write(place, act)
        for port in world.PORTS[1:]:
            self.duel.write(world.speaks(port, 0, 0), world.speak())
        policies = [Act("spread", (("load_penalty", 0),)), Act("single", Single(0, 0, 0).params)]
        policies += [Act("two_choices"), Act("round_robin"), Act("random_choice")]
        for service, policy in zip(SERVICES, policies, strict=True):
            params = {"affinity": service.affinity, "members": 64, "idle_after": SECOND, "stale_after": 2**40}
            params |= {"dead_after": 2**40, "on_no_live": 0, "fallback": world.FALLBACK}
            params |= {"first_slot": 0, "slots": FLOWS_PER_WAY, "old_first_slot": 0, "old_slots": 0}
            self.duel.write(world.of_service("services", service), Act("configure", tuple(params.items())))
            self.duel.write(world.of_service("policies", service), policy)
            for member in MEMBERS:
                self.duel.write(world.binding(service, member), world.bind(service, member, 1, 0, 0, member & 1))
                self.duel.write(world.instance(service, member), world.at_node(member, 1))
                self.duel.send(world.node_port(member), told(service, member, 1))

    def feed(self, frames: int, start: int) -> int:
        """Feed it mutated frames, the same for the same `start`; how many something left after."""
        mutator = Mutator(seeds(), start, self.target.shortest)
        if isinstance(self.target, Softswitch):
            return self._native.into_engine(self.target.engine, mutator, frames)
        client = self.target.bench.client
        left = self._native.feed(self.target.bench, mutator, frames)
        client.packet_out(op=1, port=0, service=0, member=0)
        while (packet := client.packet_in()) is None or packet["op"] != 1:
            assert packet is not None, "no answer to a probe"
            left += 1
        return left

    def resident(self) -> int:
        """Bytes of memory that its process holds."""
        return int(Path(f"/proc/{self._process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def counters(self) -> Counts:
        """What it has counted."""
        return self.target.counters(self.duel.names)


@pytest.fixture(
    scope="module",
    params=["softswitch", pytest.param("bmv2", marks=pytest.mark.root("needs root for network namespaces"))],
)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Fed]]:
    """Makes a target that can be fed."""
    folder = tmp_path_factory.mktemp("fuzz")
    native = Native(folder)
    if request.param == "softswitch":
        pipeline = (ROOT / PIPELINE).read_text()
        with Engine(cpu_port=510) as engine:
            yield lambda: Fed(Softswitch(engine, pipeline), native, os.getpid())
    else:
        reason = targets.missing(request.param)
        if reason is not None:
            pytest.skip(reason)
        with Bare(request.param, Clock(request.param, folder)) as bench:
            yield lambda: Fed(Wire(bench), native, bench.pid)


def seeds() -> list[Frame]:
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


@pytest.mark.timeout(300 + FRAMES // 250)
def test_every_frame_is_counted_and_nothing_leaks(make: Callable[[], Fed]) -> None:
    fed = make()
    drops, events, _, _ = fed.counters()
    before = sum(drops.values()) + events["REPORT"]
    half = FRAMES // 2
    bound = LEAK["softswitch" if isinstance(fed.target, Softswitch) else "bmv2"]
    left, sizes = [fed.feed(half, start=1)], [fed.resident()]
    for _ in range(AGAIN):
        left.append(fed.feed(half, start=1))
        sizes.append(fed.resident())
        if sizes[-1] - sizes[-2] < bound:
            break
    assert sizes[-1] - sizes[-2] < bound, f"it has grown each time: {sizes}"
    drops, events, instances, _ = fed.counters()
    # What did not leave was dropped for a reason, or was a report that was taken in. Some senders were told.
    told_of = sum(events.get(name, 0) for name in ("TIME_EXCEEDED", "UNREACHABLE"))
    assert len(left) * half - sum(left) == sum(drops.values()) + events["REPORT"] - before - told_of
    assert left[0] > half // 10
    assert len(drops) >= 12, f"only {sorted(drops)} were met"
    assert len({index >> 6 for index in instances["steered"]}) == len(SERVICES)


def test_good_traffic_goes_on_afterwards(make: Callable[[], Fed]) -> None:
    fed = make()
    fed.feed(FRAMES // 10, start=2)
    for service in SERVICES:
        fed.target.process(fed.duel.now, world.node_port(0), told(service, 0, 3))
        for flow in world.flows(service):
            left = fed.target.process(fed.duel.now, CLIENT_PORT, world.request(service, flow, 0x102))
            assert len(left) == 1, f"service {service.index}: a request left as {left}"
            assert left[0][1][:5].hex() == "0200000001"
