"""A target as people run it, beside the model: a process with interfaces and P4Runtime, and a clock that stands still.

Behind each frame a sentinel is sent: a report to a service of its own, by which that service's host moves. Its copies
leave by every port and its digest is told, so once all have come, nothing of the frame is under way any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import finsy as fy
from finsy.proto import p4r
from softswitch.engine.abi import Operation

from controller.switches.entries import Act, Place
from hitless.steering.policies import Single
from hitless.steering.rank import ONLY_PATH_COST
from hitless.steering.settings import Configuration
from hitless.wire.report import Report
from hitless.words import CPU_PORT, MEMBER_BITS, Affinity, PacketOutOp
from hitless.words import PROTOCOL_UDP as UDP
from tests.model import world
from tests.model.duel import BY_INSTANCE, Counts, Digest
from tests.model.switch import PACKET_IN, PACKET_OUT, Sent
from tests.model.world import COPIES, PORTS, SECOND, Kind
from tests.packet.bench import Bench
from tests.patience import PATIENCE

SENTINEL = Kind(200, UDP, Affinity.NONE)
MEMBERS = (0, 1)
"""Of the sentinel's service: each report makes its sender worse than the other."""
SOURCE = world.node_address(200)
REPORTS = world.REPORTS - 1
EVERYWHERE = 9
"""The multicast group of the sentinel's copies."""
FOREVER = 2**40
UPDATES = {
    Operation.INSERT: p4r.Update.INSERT,
    Operation.MODIFY: p4r.Update.MODIFY,
    Operation.DELETE: p4r.Update.DELETE,
}


class Bare(Bench):
    """A running target without entries, which is used more than once. Its clock must be a frozen one."""

    groups: tuple[fy.P4MulticastGroupEntry, ...] = ()
    """That it has."""

    def __enter__(self) -> Self:
        super().__enter__()
        assert self.clock is not None
        self.clock.set(SECOND)
        assert self.probe(0, 0)["now"] == SECOND, "the switch does not keep the test's clock"
        return self

    def forget(self) -> None:
        """Make it as it was when it started."""
        # BMv2 keeps groups when a program is pushed and P4Runtime's server forgets them.
        self.client.delete(*self.groups)
        self.client.push()
        everywhere = {EVERYWHERE: (*PORTS, CPU_PORT)}
        self.groups = tuple(
            fy.P4MulticastGroupEntry(group, replicas=list(ports)) for group, ports in (COPIES | everywhere).items()
        )
        self.client.insert(*self.groups)
        self.wires.flush()
        while self.client.packet_in(0) is not None:
            pass
        self.client.digests.clear()

    def _lay_out(self) -> None:
        pass


class Wire:
    """The target on the wires of a bench."""

    shortest = world.ETHERNET

    def __init__(self, bench: Bare) -> None:
        bench.forget()
        self.bench = bench
        """Where it runs."""
        self._updates: list[tuple[Any, Any]] = []
        self._told: list[Digest] = []
        self._sentinels = 0
        for place, act in sentinel_entries():
            self.write(Operation.INSERT, place, act)
        self._write_all()
        for _ in MEMBERS:
            sentinel = self._sentinel()
            self.bench.send(PORTS[0], sentinel)
            assert [*self._received(sentinel), *self._received_by_cpu(sentinel)] == []
        self.bench.client.take_digests(lambda told: told["sequence"] == 1, PATIENCE)

    def write(self, kind: Operation, place: Place, act: Act | None) -> None:
        """Change an entry, before the next frame at the latest."""
        match = {name: f"{value[0]:#x}/{value[1]}" if isinstance(value, tuple) else value for name, value in place.key}
        action = None if act is None else fy.P4TableAction(act.name, **dict(act.params))
        self._updates.append((UPDATES[kind], fy.P4TableEntry(place.table, match=fy.P4TableMatch(match), action=action)))

    def process(self, now: int, port: int, frame: bytes) -> list[Sent]:
        """What leaves."""
        assert self.bench.clock is not None
        self._write_all()
        self.bench.clock.set(now)
        sentinel = self._sentinel()
        if port == CPU_PORT:
            self._packet_out(frame)
            injected = {"op": PacketOutOp.INJECT, "port": PORTS[0], "service": 0, "member": 0}
            self._packet_out(PACKET_OUT.pack(injected) + sentinel)
        else:
            self.bench.send(port, frame)
            self.bench.send(port, sentinel)
        sent = [*self._received(sentinel), *self._received_by_cpu(sentinel)]
        told = self.bench.client.take_digests(self._is_of_sentinel, PATIENCE)
        self._told += [tuple(values.values()) for values in told if values["service"] != SENTINEL.index]
        return sent

    def digests(self) -> list[Digest]:
        """What was told."""
        told, self._told = self._told, []
        return told

    def counters(self, names: dict[str, dict[str, int]]) -> Counts:
        """Counted packets, without the sentinels."""
        client = self.bench.client
        cells = {counter: client.counters(counter) for counter in ("drops", "events")}
        drops, events = ({name: cells[of][at] for name, at in names[of].items() if at in cells[of]} for of in cells)
        own = {"REPORT": self._sentinels, "FIRST": 1, "BETTER": self._sentinels - len(MEMBERS)}
        events = {name: count - own.get(name, 0) for name, count in events.items()}
        events = {name: count for name, count in events.items() if count}
        sentinels = {SENTINEL.index << MEMBER_BITS | member for member in MEMBERS}
        instances = {
            counter: {index: count for index, count in client.counters(counter).items() if index not in sentinels}
            for counter in BY_INSTANCE
        }
        return Counts(drops, events, instances, client.counters("newcomers"))

    def _write_all(self) -> None:
        if self._updates:
            self.bench.client.write(*self._updates)
            self._updates.clear()

    def _sentinel(self) -> bytes:
        """The next one: the host's report, which makes it worse than the other."""
        member = MEMBERS[self._sentinels % 2]
        ids = {"service_id": SENTINEL.service_id, "node_id": member + 1}
        self._sentinels += 1
        report = Report(**ids, epoch=1, sequence=self._sentinels, ready=True, queue_depth=self._sentinels)
        payload = world.udp(40000, world.REPORT_PORT, report.encode())
        return world.ipv4(SOURCE, REPORTS, UDP, payload)

    def _is_of_sentinel(self, told: dict[str, int]) -> bool:
        return told["service"] == SENTINEL.index and told["sequence"] == self._sentinels

    def _packet_out(self, data: bytes) -> None:
        header, payload = data[: PACKET_OUT.size], data[PACKET_OUT.size :]
        self.bench.client.packet_out(payload, **PACKET_OUT.unpack(header))

    def _received(self, sentinel: bytes) -> Iterator[Sent]:
        """What comes out of the ports before the sentinel's copies."""
        awaited = set(PORTS)
        while awaited:
            received = self.bench.receive()
            assert received is not None, f"nothing more leaves by ports {awaited}"
            port, frame = received
            if frame == sentinel:
                awaited.remove(port)
            else:
                yield port, frame

    def _received_by_cpu(self, sentinel: bytes) -> Iterator[Sent]:
        while True:
            packet = self.bench.client.packet_in(PATIENCE)
            assert packet is not None, "nothing more comes to the CPU port"
            header = PACKET_IN.pack({name: int(packet[name]) for name, _ in PACKET_IN.layout})
            if (frame := header + packet.payload) == sentinel:
                return
            yield CPU_PORT, frame


def sentinel_entries() -> list[tuple[Place, Act]]:
    """Of the sentinel's service: a host that moves whenever it can, bound to all ports."""
    silent = Configuration(
        affinity=Affinity.NONE, members=2, idle_after=FOREVER, stale_after=FOREVER, dead_after=FOREVER
    )
    policy, score = Single(margin=0, dwell=0), replace(ONLY_PATH_COST, queue=0)
    entries = [
        (world.endpoint(REPORTS, UDP, world.REPORT_PORT), Act("to_reports")),
        (world.of_service("services", SENTINEL), Act(silent.action, silent.params)),
        (world.of_service("policies", SENTINEL), Act(policy.action, policy.params)),
        (world.of_service("scoring", SENTINEL), Act(score.action, score.params)),
        *((world.speaks(port, SOURCE, 32), world.speak()) for port in PORTS),
    ]
    for member in MEMBERS:
        entries.append((world.instance(SENTINEL, member), world.at_node(member, 1)))
        for port in PORTS:
            ids = {"service_id": SENTINEL.service_id, "node_id": member + 1}
            key = (("port", port), ("source", SOURCE), *ids.items())
            entries.append((Place("bindings", key), world.bind(SENTINEL, member, 1, 0, EVERYWHERE, 0)))
    return entries
