"""What nodes, clients and the network around send to a switch, as rules of a hypothesis state machine."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from hitless.wire.report import Key, Report
from tests.model import world
from tests.model.duel import Duel
from tests.model.world import MEMBERS, PORTS, SERVICES, Kind

WORDS = st.one_of(st.integers(0, 65535), st.sampled_from([0, 1, 2, 500, 65535]))
WORKERS = st.sampled_from([0, 1, 2, 3, 65535])
LONG_WORDS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 1000, 50_000, 2**31, 2**32 - 1]))
SERIALS = st.sampled_from([1, 1, 1, 1, 1, 2, 0, -1, 2**31 - 1, 2**31, 2**31 + 1])
RESTARTS = st.sampled_from([0] * 12 + [1, -1, 2**31, 2**31 - 1])
FLAGS = st.sampled_from([0x02, 0x02, 0x10, 0x10, 0x12, 0x18, 0x11, 0x01, 0x04, 0x14])
KINDS = st.sampled_from([1, 1, 1, 1, 2, 3, 4])
services = st.runner().flatmap(lambda machine: st.sampled_from(machine.focus))
members = st.sampled_from(MEMBERS)
REQUESTS = st.lists(st.tuples(st.integers(0, 4), FLAGS), min_size=2, max_size=8)
SOME = st.lists(members, min_size=1, unique=True)
LOADS = st.tuples(WORDS, WORDS, WORDS)
MARKS = st.sampled_from([0, 0, 0, 1, 2, 3, 3, 3])
PLACES = st.sampled_from([0, 0, 0, 12, 13, 14, 16, 17, 20, 21, 22, 23, *range(34, 48), 65, 66, 82, 85])
BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 4, 6, 8, 0x20, 0x40, 0x45, 0x46, 0x50, 0x65, 0xFF]))
PLAIN = [world.CLIENT, world.FALLBACK, world.TO_CPU, 0x0A050505, 0x0B000001, 0xE0000001]
"""Where packets go that are nobody's request: hosts, the CPU port, nowhere."""
PLAIN += [world.GATEWAY, SERVICES[0].address, SERVICES[0].address + 0x1000]
"""And to the switch's own addresses, and to what is none of them in the services' network."""
U32 = 2**32 - 1


class Traffic(RuleBasedStateMachine):
    """Sends the same to a model and a target."""

    duel: Duel
    focus: list[Kind]
    """The services that it is about; one of them more often than others."""
    serials: dict[tuple[int, int], tuple[int, int]]
    """Epoch and sequence of the last report by service and member."""
    seeds: list[tuple[int, bytes]]
    """Whole frames that were sent, and the ports they came to."""
    flows: dict[int, list[tuple[int, int]]] = {service.index: world.flows(service) for service in SERVICES}  # noqa: RUF012

    def send(self, port: int, frame: bytes) -> None:
        """A whole frame, kept to be damaged later."""
        self.seeds = [*self.seeds[-20:], (port, frame)]
        self.duel.send(port, frame)

    # What nodes send

    @rule(
        service=services,
        member=members,
        ready=st.sampled_from([True, True, True, True, False]),
        draining=st.sampled_from([False, False, False, True]),
        step=SERIALS,
        restart=RESTARTS,
        words=st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS, WORKERS),
        long_words=st.tuples(LONG_WORDS, LONG_WORDS),
        received=st.integers(0, 20),
        in_flight=WORDS,
        stray=st.sampled_from([False] * 15 + [True]),
        key=st.sampled_from([None, *world.KEYS, *world.KEYS, Key(3, bytes(16))]),
        flaw=st.sampled_from([0] * 7 + [1]),
    )
    def report(
        self,
        service: Kind,
        member: int,
        ready: bool,
        draining: bool,
        step: int,
        restart: int,
        words: tuple[int, int, int, int, int, int],
        long_words: tuple[int, int],
        received: int,
        in_flight: int,
        stray: bool,
        key: Key | None,
        flaw: int,
    ) -> None:
        """A node tells how it is; `stray`: from where it does not live."""
        epoch, sequence = self.serials.get((service.index, member), (U32, U32))
        epoch, sequence = (epoch + restart) & U32, (sequence + step) & U32
        if not stray:
            self.serials[service.index, member] = epoch, sequence
        report = Report(
            service_id=service.service_id,
            node_id=member + 1,
            epoch=epoch,
            sequence=sequence,
            ready=ready,
            draining=draining,
            cpu=words[0],
            cpu_own=words[1] % (words[0] + 2),
            memory=words[2],
            queue_depth=words[3],
            in_flight=in_flight,
            concurrency=words[5],
            backlog=long_words[0],
            service_interval=long_words[1],
            received=received,
            contention=words[4],
        )
        port = world.node_port(member)
        self.send(port % 4 + 1 if stray else port, world.report_frame(report, member, key, flaw))

    def tell(self, service: Kind, member: int, *, ready: bool = True, draining: bool = False, cpu: int = 0) -> None:
        """A node's next report, signed."""
        words, long_words = (cpu, 0, 0, 0, 0, 1), (cpu, 1000)
        self.report(service, member, ready, draining, 1, 0, words, long_words, 0, 0, False, world.KEYS[0], 0)

    @rule(service=services, members_=SOME, loads=LOADS)
    def round_of_reports(self, service: Kind, members_: list[int], loads: tuple[int, int, int]) -> None:
        """Several nodes are well, as they mostly are."""
        for place, member in enumerate(members_):
            self.tell(service, member, cpu=loads[place % 3] % 1000)

    @rule(service=services, member=members, port=st.sampled_from([0, 0, 0, 1]), stray=st.sampled_from([0, 0, 0, 1]))
    def answer(self, service: Kind, member: int, port: int, stray: int) -> None:
        """An instance answers as its service; or from another port, or comes in where its node is not."""
        source = world.SERVICE_PORT + member // 3 + port
        body = world.tcp(source, 5000, 0x18) if service.protocol == world.TCP else world.udp(source, 5000, b"answer")
        frame = world.ipv4(service.address, world.CLIENT, service.protocol, body)
        self.send(world.node_port(member) % 4 + 1 if stray else world.node_port(member), frame)

    @rule(service=services, caller=members, flags=FLAGS)
    def call(self, service: Kind, caller: int, flags: int) -> None:
        """A node calls a service, which may be one of its own."""
        shape = flags if service.protocol == world.TCP else 0x100
        frame = world.request(service, (world.node_address(caller), 7000 + flags), shape)
        self.send(world.node_port(caller), frame)

    # What clients send

    @rule(
        service=services,
        flow=st.integers(0, 4),
        flags=FLAGS,
        kind=KINDS,
        index=st.integers(0, 2),
        way=st.sampled_from([0, 0, *range(len(world.WAYS))]),
        ttl=st.sampled_from([64] * 9 + [1]),
        room=st.sampled_from([0, 0, 0, 20, 52, 100]),
        whole=st.booleans(),
    )
    def request(
        self, service: Kind, flow: int, flags: int, kind: int, index: int, way: int, ttl: int, room: int, whole: bool
    ) -> None:
        """A client's packet."""
        shape = flags if service.protocol == world.TCP else way << 16 | kind << 8 | index
        frame = world.request(service, self.flows[service.index][flow], shape, ttl, room, whole)
        self.send(world.CLIENT_PORT, frame)

    @rule(service=services, flow=st.integers(0, 4), kind=st.sampled_from([3, 3, 11, 12, 5]))
    def complain(self, service: Kind, flow: int, kind: int) -> None:
        """An ICMP error about what a service sent."""
        frame = world.request(service, self.flows[service.index][flow], 0x110)
        self.send(world.CLIENT_PORT, world.error(frame, kind))

    @rule(
        pick=st.integers(0, 9),
        destination=st.sampled_from([world.node_address(0), world.node_address(0), world.node_address(1)]),
        room=st.sampled_from([0, 4]),
        marks=st.tuples(MARKS, MARKS),
        source=st.sampled_from([world.GATEWAY] * 4 + [world.node_address(1)]),
        port=st.sampled_from([4] * 4 + [3, 1]),
    )
    def tunnel(self, pick: int, destination: int, room: int, marks: tuple[int, int], source: int, port: int) -> None:
        """A packet that was steered by another switch, or may not come out of a tunnel.

        `marks` are its and its tunnel's for congestion (RFC 3168).
        """
        if self.seeds:
            inner, outer = marks
            frame = world.marked(self.seeds[-1 - pick % len(self.seeds)][1], inner)
            self.send(port, world.marked(world.tunnelled(frame, destination, room, source), outer))

    @rule(service=services, requests=REQUESTS)
    def requests(self, service: Kind, requests: list[tuple[int, int]]) -> None:
        """Clients' packets in a row."""
        for flow, flags in requests:
            self.request(service, flow, flags, 1, 0, flags % len(world.WAYS), 64, 0, False)

    @rule(
        target_=st.sampled_from([world.GATEWAY, SERVICES[0].address, world.CLIENT]),
        code=st.sampled_from([0, 0, 1]),
        sum_=st.sampled_from([0, 0xF7FF, 0xF800, 0xFFFF]),
    )
    def ping(self, target_: int, code: int, sum_: int) -> None:
        """An echo request, or nearly."""
        self.send(world.CLIENT_PORT, world.echo(target_, 8, code, sum_))

    @rule(
        port=st.sampled_from(PORTS),
        asked=st.sampled_from([world.GATEWAY, SERVICES[0].address, world.CLIENT, world.node_address(0), 0x0B000001]),
        operation=st.sampled_from([1, 1, 2]),
        sender=st.sampled_from([world.CLIENT, world.node_address(0), world.node_address(0), world.GATEWAY]),
        destination=st.sampled_from([world.BROADCAST, world.BROADCAST, world.SWITCH_MAC, world.CLIENT_MAC]),
    )
    def ask(self, port: int, asked: int, operation: int, sender: int, destination: int) -> None:
        """An ARP frame."""
        self.send(port, world.arp(asked, sender, operation, destination))

    @rule(
        destination=st.sampled_from(PLAIN),
        protocol=st.sampled_from([6, 17, 41, 1]),
        ttl=st.sampled_from([0, 1, 2, 255]),
        times=st.sampled_from([1] * 9 + [22]),
        room=st.sampled_from([0, 7, 8, 60]),
    )
    def plain(self, destination: int, protocol: int, ttl: int, times: int, room: int) -> None:
        """A packet that is nobody's request; seldom, more of them at once than are answered."""
        bodies = {6: world.tcp(1, 2, 2), 17: world.udp(1, 2, b"HTHI" + bytes(60)), 1: b"\x08" + bytes(7)}
        for _ in range(times):
            body = bodies.get(protocol, bytes(room))
            self.send(world.CLIENT_PORT, world.ipv4(world.CLIENT, destination, protocol, body, ttl))

    @rule(pick=st.integers(0, 9), tag=st.sampled_from([0, 0, 0xE000, 1]), inside=st.sampled_from([None] * 4 + [0x8100]))
    def tag(self, pick: int, tag: int, inside: int | None) -> None:
        """A frame from before with a tag (IEEE 802.1Q)."""
        if self.seeds:
            port, frame = self.seeds[-1 - pick % len(self.seeds)]
            self.duel.send(port, world.tagged_frame(frame, tag, inside))

    @rule(op=st.sampled_from([0, 2, 2, 3]), port=st.sampled_from([1, 2, 510, 511, 513]), pick=st.integers(0, 9))
    def packet_out(self, op: int, port: int, pick: int) -> None:
        """A packet from the control plane."""
        frame = self.seeds[-1 - pick % len(self.seeds)][1] if self.seeds else b""
        self.duel.send(world.CPU_PORT, bytes([op]) + port.to_bytes(2, "big") + bytes(4) + frame)

    @rule(pick=st.integers(0, 19), cut=st.integers(0, 120), bits=st.lists(st.integers(0, 8 * 110), max_size=3))
    def damage(self, pick: int, cut: int, bits: list[int]) -> None:
        """A frame from before, cut and with bits turned over."""
        if not self.seeds:
            return
        port, seed = self.seeds[-1 - pick % len(self.seeds)]
        frame = bytearray(seed if cut > 90 else seed[:cut])
        for bit in bits:
            if bit >> 3 < len(frame):
                frame[bit >> 3] ^= 1 << (bit & 7)
        if len(frame) >= self.duel.target.shortest:
            self.duel.send(port, bytes(frame))

    @rule(service=services, member=members)
    def probe(self, service: Kind, member: int) -> None:
        """What the switch believes."""
        self.duel.probe(service.index, member)

    # Frames from before, made worse

    @rule(flow=st.integers(0, 4), place=st.integers(world.PAYLOAD, world.PAYLOAD + 2), value=st.integers(0, 255))
    def speak_otherwise(self, flow: int, place: int, value: int) -> None:
        """A datagram without an invocation header, where one is needed."""
        frame = bytearray(world.request(world.BY_REQUEST, self.flows[world.BY_REQUEST.index][flow], 0x101))
        frame[place] = value
        self.send(world.CLIENT_PORT, bytes(frame))

    @rule(
        pick=st.integers(0, 9),
        end=st.sampled_from([None, world.node_address(0)]),
        part=st.sampled_from([0x2000, 0x2001, 1]),
    )
    def fragment(self, pick: int, end: int | None, part: int) -> None:
        """A part of a packet from before, or of it in a tunnel."""
        if self.seeds:
            port, frame = self.seeds[-1 - pick % len(self.seeds)]
            if end is not None:
                frame = world.tunnelled(frame, end)
            self.duel.send(port, world.fragment(frame, part))

    @rule(pick=st.integers(0, 19), changes=st.lists(st.tuples(PLACES, BYTES), min_size=1, max_size=2))
    def alter(self, pick: int, changes: list[tuple[int, int]]) -> None:
        """A frame from before with other bytes in its headers, which are consistent all the same."""
        if self.seeds:
            port, seed = self.seeds[-1 - pick % len(self.seeds)]
            frame = bytearray(seed)
            for place, value in changes:
                frame[place % len(frame)] = value
            self.duel.send(port, world.mended(bytes(frame)))
