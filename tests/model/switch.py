"""One switch as the data plane contract has it: table entries and frames in; frames, digests and counts out.

In the program: steering.p4, classify.p4, packet_io.p4, routing.p4, outcome.p4, with the stages in the same order. Pure:
time is what the caller says. Frames without a program: for tests that compare a target with the contract.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.switches.entries import AFFINITIES, ON_NO_LIVE, Act, Place
from hitless.steering.draw import Lots, by_chance
from hitless.steering.flows import FlowStore, Segment, Work
from hitless.steering.outcome import Event, Outcome, Probe, Verdict
from hitless.steering.policies import (
    InstanceSettings,
    Pinned,
    Policy,
    Random,
    RoundRobin,
    Settings,
    Single,
    Spread,
    TwoChoices,
)
from hitless.steering.rank import OFF, Score
from hitless.steering.service import ServiceSteering
from hitless.wire.report import Report, ReportError, decode, tag_of
from tests.model import frames
from tests.model.frames import Packet, Quote, Refused

CPU_PORT = 510
DROP_PORT = 511
SERVICES = 256
MEMBERS = 64
INVOCATION_VERSION = 1
INVOCATION_REQUEST = 1
_REQUEST, _REPORT, _PING = "to_service", "to_reports", "to_ping"
_PACKET_IN = struct.Struct("!BHHHBB6s6sIIIHH6s6s")
_AFFINITY = {number: name for name, number in AFFINITIES.items()}
_ON_NO_LIVE = {number: name for name, number in ON_NO_LIVE.items()}

Sent = tuple[int, bytes]
"""A frame and the port that it leaves by."""


@dataclass(slots=True)
class Passage:
    """What one frame led to."""

    sent: list[Sent] = field(default_factory=list)
    events: list[tuple[int, Event]] = field(default_factory=list)
    """Digests: the service's index, and what happened to it."""


class Switch:
    """The contract's state for all services of a switch."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        """By reason."""
        self.events: Counter[str] = Counter()
        """By name."""
        self.steered: Counter[int] = Counter()
        """By instance: service ++ member."""
        self.groups: Mapping[int, tuple[int, ...]] = {}
        """Ports by multicast group."""
        self.lots: Lots = by_chance
        """Draws a member for the policies that leave it to chance."""
        self._tables: dict[Place, dict[str, int]] = {}
        self._actions: dict[Place, str] = {}
        self._services: dict[int, ServiceSteering] = {}
        self._flows = FlowStore()

    def write(self, place: Place, act: Act | None) -> None:
        """Insert or modify an entry, or delete it."""
        if act is None:
            del self._tables[place], self._actions[place]
        else:
            self._tables[place], self._actions[place] = dict(act.params), act.name
        if place.table in ("services", "policies", "scoring", "instances"):
            index = dict(place.key)["instance" if place.table == "instances" else "service"]
            assert isinstance(index, int)
            self._configure(index >> 6 if place.table == "instances" else index)

    def process(self, now: int, port: int, frame: bytes) -> Passage:
        """A frame has come."""
        passage = Passage()
        try:
            if port == CPU_PORT:
                self._packet_out(now, frame, passage)
            else:
                self._frame(now, port, frame, passage)
        except Refused as refused:
            self.drops[str(refused)] += 1
        for _, event in passage.events:
            self.events[event.reason.name] += 1
        passage.sent = [(out, sent) for out, sent in passage.sent if out != DROP_PORT]
        return passage

    def probe(self, now: int, service: int, member: int) -> Probe:
        """What is believed of an instance."""
        return self._service(service).probe(now, member)

    # Tables

    def _entry(self, table: str, **key: int) -> dict[str, int] | None:
        return self._tables.get(Place(table, tuple(key.items())))

    def _longest(self, table: str, address: int) -> Place | None:
        """The entry with the longest prefix that covers an address."""
        for length in range(32, -1, -1):
            prefix = address >> 32 - length << 32 - length
            if (place := Place(table, (("address", (prefix, length)),))) in self._tables:
                return place
        return None

    def _service(self, index: int) -> ServiceSteering:
        if index not in self._services:
            self._services[index] = ServiceSteering(Settings(Spread(), {}), self._flows)
        return self._services[index]

    def _configure(self, index: int) -> None:
        """Read a service's settings out of its entries."""
        services, policies = self._entry("services", service=index), self._entry("policies", service=index)
        if services is None or policies is None:
            return
        scoring = self._entry("scoring", service=index)
        self._service(index).settings = Settings(
            policy=_policy(self._actions[Place("policies", (("service", index),))], policies),
            instances={
                member: InstanceSettings(entry["generation"])
                for member in range(MEMBERS)
                if (entry := self._entry("instances", instance=index << 6 | member)) is not None
            },
            score=Score(*scoring.values()) if scoring is not None else Score(OFF, OFF, OFF, 0, OFF),
            stale_after=services["stale_after"],
            dead_after=services["dead_after"],
            idle_after=services["idle_after"],
            members=services["members"],
            on_no_live=_ON_NO_LIVE[services["on_no_live"]],  # type: ignore[arg-type]
        )

    # Frames

    def _frame(self, now: int, port: int, frame: bytes, passage: Passage) -> None:
        match frames.ether_type(frame):
            case 0x0806:
                self._arp(port, frame, passage)
            case 0x0800:
                self._ipv4(now, port, frames.parse(frame), passage)
            case _:
                raise Refused("ETHERTYPE")

    def _arp(self, port: int, frame: bytes, passage: Passage) -> None:
        question = frames.question(frame)
        place = self._longest("arp", question.target)
        if place is None or self._tables[place]["home"] == port:
            raise Refused("ARP")
        self._send(port, port, question.answer(self._tables[place]["mac"]), passage)

    def _ipv4(self, now: int, port: int, packet: Packet, passage: Passage) -> None:
        if packet.protocol == frames.IPIP and self._entry("tunnels", address=packet.destination) is not None:
            self._route(port, frames.decapsulated(packet), packet.destination, passage)
            return
        quote = packet.quote if packet.quote is not None and packet.quote.source == packet.destination else None
        protocol, own_port = packet.protocol, packet.destination_port
        if quote is not None:
            protocol, own_port = quote.protocol, quote.source_port
        place = Place("endpoints", (("address", packet.destination), ("protocol", protocol), ("port", own_port)))
        kind = self._actions.get(place)
        if kind not in (_REPORT, _PING) and packet.ttl <= 1:
            raise Refused("TTL")
        if kind == _PING:
            self._send(port, port, frames.echo_reply(packet), passage)
        elif kind == _REPORT:
            self._report(now, port, packet, passage)
        elif kind == _REQUEST:
            self._request(now, port, packet, quote, self._tables[place]["service"], passage)
        else:
            self._route(port, packet, packet.destination, passage)

    def _route(
        self, port: int, packet: Packet, address: int, passage: Passage, tunnel_source: int | None = None
    ) -> None:
        """Send a packet to where the address is routed, through a tunnel if it has a source."""
        place = self._longest("routes", address)
        if place is None and packet.fragment:
            raise Refused("FRAGMENT")
        if place is None or self._actions[place] != "forward":
            raise Refused("NO_ROUTE")
        hop = self._tables[place]
        packet = frames.forwarded(packet, hop["source"], hop["destination"])
        frame = packet.frame if tunnel_source is None else frames.encapsulated(packet, tunnel_source, address)
        self._send(port, hop["port"], frame, passage)

    def _send(self, port: int, out: int, frame: bytes, passage: Passage) -> None:
        if out == CPU_PORT:
            frame = bytes(1) + port.to_bytes(2, "big") + bytes(_PACKET_IN.size - 3) + frame
        passage.sent.append((out, frame))

    # Steering

    def _configured(self, index: int) -> ServiceSteering:
        if self._entry("services", service=index) is None or self._entry("policies", service=index) is None:
            raise Refused("UNCONFIGURED")
        return self._service(index)

    def _report(self, now: int, port: int, packet: Packet, passage: Passage) -> None:
        report = _decoded(packet.report)
        ids = {"service_id": report.service_id, "node_id": report.node_id}
        bound = self._entry("bindings", port=port, source=packet.source, **ids)
        if bound is None:
            raise Refused("REPORT_UNBOUND")
        if bound["authenticate"] and not _authentic(packet.report, bound):
            raise Refused("REPORT_FORGED")
        steering = self._configured(bound["service"])
        settings = InstanceSettings(bound["generation"], bound["path_cost"])
        outcome = steering.report(now, bound["member"], report, settings)
        if outcome.verdict is Verdict.OLD:
            raise Refused("REPORT_OLD")
        self.events["REPORT"] += 1
        passage.events += [(bound["service"], event) for event in outcome.events]
        passage.sent += [(copy, packet.frame) for copy in self.groups.get(bound["copy_group"], ())]

    def _request(self, now: int, port: int, packet: Packet, quote: Quote | None, index: int, passage: Passage) -> None:
        steering = self._configured(index)
        services = self._tables[Place("services", (("service", index),))]
        instances = {member: self._entry("instances", instance=index << 6 | member) for member in range(MEMBERS)}
        work = _work(packet, index, _AFFINITY[services["affinity"]]) if quote is None else _quoted(quote, index)

        def fits(member: int) -> bool:
            entry = instances[member]
            return entry is None or packet.total + frames.IPV4 <= entry.get("path_mtu", 65535)

        outcome = steering.request(now, work, self.lots, fits)
        passage.events += [(index, event) for event in outcome.events]
        self._count(outcome)
        entry = instances[outcome.member] if outcome.member is not None else None
        match outcome.verdict:
            case Verdict.STEERED:
                assert outcome.member is not None and entry is not None
                self._route(port, packet, entry["node"], passage, entry.get("tunnel_source"))
                self.steered[index << 6 | outcome.member] += 1
            case Verdict.TOO_BIG:
                assert entry is not None
                self._send(port, port, frames.too_big(packet, entry["path_mtu"]), passage)
                self.events["TOO_BIG"] += 1
            case Verdict.FALLBACK:
                self._route(port, packet, services["fallback"], passage)
            case Verdict.EXHAUSTED:
                raise Refused("RESUBMITS")
            case _:
                raise Refused("NO_LIVE")

    def _count(self, outcome: Outcome) -> None:
        counted = {
            "NO_LIVE": outcome.no_live,
            "FALLBACK": outcome.verdict is Verdict.FALLBACK,
            "NO_ENTRY": outcome.no_entry,
            "NO_SLOT": outcome.no_slot,
        }
        self.events.update(name for name, counts in counted.items() if counts)

    # The control plane's packets

    def _packet_out(self, now: int, data: bytes, passage: Passage) -> None:
        if len(data) < 7:
            raise Refused("PARSER")
        op, port, service, member = struct.unpack_from("!BHHH", data)
        frame = data[7:]
        if op == 0 and port <= CPU_PORT:
            self._send(CPU_PORT, port, frame, passage)
        elif op == 2 and port <= CPU_PORT:
            self._frame(now, port, frame, passage)
        elif op == 1 and service < SERVICES and member < MEMBERS:
            answer = _answer(self.probe(now, service, member), port, service, member, now)
            passage.sent.append((CPU_PORT, answer + frame))
        else:
            raise Refused("PACKET_OUT")


def _authentic(payload: bytes | None, bound: Mapping[str, int]) -> bool:
    """Whether a report's tag is right under the one of its binding's keys that it names; key 0 is none."""
    assert payload is not None
    keys = {bound["next_key_id"]: bound["next_key"], bound["key_id"]: bound["key"]}
    key = keys.get(payload[40], 0) if payload[40] else None
    return key is not None and payload[40] in keys and tag_of(payload, key.to_bytes(16)) == int.from_bytes(payload[44:])


def _quoted(quote: Quote, index: int) -> Work:
    """An ICMP error as affinity sees it: the flow that its quote is of, which goes the other way."""
    ends = (quote.destination, quote.source, quote.destination_port, quote.source_port)
    return Work(bytes([index, quote.protocol]) + struct.pack("!IIHH", *ends), starts=False, quoted=True)


def _policy(action: str, params: Mapping[str, int]) -> Policy:
    kinds: dict[str, type[Policy]] = {
        "single": Single,
        "spread": Spread,
        "two_choices": TwoChoices,
        "round_robin": RoundRobin,
        "random_choice": Random,
        "pinned": Pinned,
    }
    return kinds[action](**params)


def _decoded(payload: bytes | None) -> Report:
    if payload is None:
        raise Refused("REPORT_MALFORMED")
    try:
        return decode(payload)
    except ReportError:
        raise Refused("REPORT_MALFORMED") from None


def _work(packet: Packet, index: int, affinity: str) -> Work | None:
    """The packet as affinity sees it. Raises Refused for a datagram without the header that its service's needs."""
    head = bytes([index, packet.protocol])
    if packet.segment is not None or affinity == "flow":
        ends = (packet.source, packet.destination, packet.source_port, packet.destination_port)
        segment: Segment | None = packet.segment
        starts = segment is None or (segment.syn and not segment.ack)
        return Work(head + struct.pack("!IIHH", *ends), starts, segment)
    if affinity == "none":
        return None
    header = packet.invocation
    if header is None or header[2] != INVOCATION_VERSION:
        raise Refused("INVOCATION")
    return Work(head + header[8:20], header[3] == INVOCATION_REQUEST)


def _answer(probe: Probe, port: int, service: int, member: int, now: int) -> bytes:
    """The packet-in header that answers a probe."""
    nobody, never = 0xFFFF, 2**48 - 1
    return _PACKET_IN.pack(
        1,
        port,
        service,
        member,
        probe.status,
        probe.eligible,
        probe.rank.to_bytes(6, "big"),
        (never if probe.age is None else probe.age).to_bytes(6, "big"),
        probe.epoch,
        probe.sequence,
        probe.sent,
        nobody if probe.host is None else probe.host,
        nobody if probe.best is None else probe.best,
        probe.best_rank.to_bytes(6, "big"),
        now.to_bytes(6, "big"),
    )
