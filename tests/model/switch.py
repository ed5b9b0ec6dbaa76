"""One switch as the data plane contract has it: table entries and frames in; frames, digests and counts out.

In the program: steering.p4, classify.p4, ports.p4, packet_io.p4, routing.p4, icmp_error.p4, outcome.p4, with the stages
in the same order. Pure: time is what the caller says. Frames without a program: for tests that compare a target with
the contract.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from controller.switches.entries import Act, Place
from hitless import words
from hitless.steering.draw import Draw, by_chance
from hitless.steering.flows import FlowStore, Segment, Work
from hitless.steering.outcome import Event, Outcome, Probe, Verdict
from hitless.steering.policies import Spread, policy_of
from hitless.steering.rank import ONLY_PATH_COST, Score
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import Configuration, InstanceSettings, Settings
from hitless.wire.layout import Header
from hitless.wire.report import Report, ReportError, decode, tag_of
from hitless.words import (
    CPU_PORT,
    DROP_PORT,
    INVOCATION_LAYOUT,
    INVOCATION_ONCE,
    INVOCATION_VERSION,
    MEMBER_BITS,
    MEMBERS,
    NEVER,
    NO_MEMBER_16,
    PACKET_IN_LAYOUT,
    PACKET_OUT_LAYOUT,
    PROTOCOL_IPIP,
    SERVICES,
    Affinity,
    FlowPlace,
    InvocationType,
    PacketInOp,
    PacketOutOp,
    Unreachable,
)
from tests.model import frames
from tests.model.frames import Packet, Quote, Refused, Told

PACKET_IN, PACKET_OUT = Header(PACKET_IN_LAYOUT), Header(PACKET_OUT_LAYOUT)
INVOCATION = Header(INVOCATION_LAYOUT)
FLOW_PLACE_BITS = words.NEWCOMER_BITS - words.SERVICE_BITS
NO_PACKET_IN = {name: 0 for name, _ in PACKET_IN_LAYOUT}
_REQUEST, _REPORT, _PING = "to_service", "to_reports", "to_ping"
_NOWHERE = {
    "no_route": ("NO_ROUTE", Unreachable.NET),
    "no_host": ("NO_ROUTE", Unreachable.HOST),
    "own": ("NO_PORT", Unreachable.PORT),
}
"""Of a route's actions: why a packet does not go there."""

Sent = tuple[int, bytes]
"""A frame and the port that it leaves by."""


@dataclass(slots=True)
class Result:
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
        self.answered: Counter[int] = Counter()
        """Packets that came from an instance as its service, by instance."""
        self.own: Counter[int] = Counter()
        """Packets steered to an instance that its own node had sent, by instance."""
        self.reported: Counter[int] = Counter()
        """Reports accepted, by instance."""
        self.newcomers: Counter[int] = Counter()
        """By service ++ what a flow that begins has found."""
        self.groups: Mapping[int, tuple[int, ...]] = {}
        """Ports by multicast group."""
        self.draw: Draw = by_chance
        """Draws a member for the policies that leave it to chance."""
        self._tables: dict[Place, dict[str, int]] = {}
        self._actions: dict[Place, str] = {}
        self._services: dict[int, ServiceSteering] = {}
        self._flows = FlowStore()
        self._spent: dict[int, int] = {}
        """Until when a port's share of ICMP errors is used up (µs)."""

    def write(self, place: Place, act: Act | None) -> None:
        """Insert or modify an entry, or delete it."""
        if act is None:
            del self._tables[place], self._actions[place]
        else:
            self._tables[place], self._actions[place] = dict(act.params), act.name
        if place.table in ("services", "policies", "scoring", "instances"):
            index = dict(place.key)["instance" if place.table == "instances" else "service"]
            assert isinstance(index, int)
            self._configure(index >> MEMBER_BITS if place.table == "instances" else index)

    def process(self, now: int, port: int, frame: bytes) -> Result:
        """A frame has come."""
        result = Result()
        try:
            if port == CPU_PORT:
                self._packet_out(now, frame, result)
            else:
                self._frame(now, port, frame, result)
        except Refused as refused:
            self.drops[str(refused)] += 1
        for _, event in result.events:
            self.events[event.reason.name] += 1
        result.sent = [(out, sent) for out, sent in result.sent if out != DROP_PORT]
        return result

    def probe(self, now: int, service: int, member: int) -> Probe:
        """What is believed of an instance."""
        return self._service(service).probe(now, member)

    # Tables

    def _entry(self, table: str, **key: int) -> dict[str, int] | None:
        return self._tables.get(Place(table, tuple(key.items())))

    def _longest(self, table: str, address: int, name: str = "address", /, **key: int) -> Place | None:
        """The entry with the longest prefix that covers an address; `key`: what stands in front of it."""
        for length in range(32, -1, -1):
            prefix = address >> 32 - length << 32 - length
            if (place := Place(table, (*key.items(), (name, (prefix, length))))) in self._tables:
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
            policy=policy_of(self._actions[Place("policies", (("service", index),))], policies),
            instances={
                member: InstanceSettings(entry["generation"], entry["path_cost"])
                for member in range(MEMBERS)
                if (entry := self._entry("instances", instance=index << MEMBER_BITS | member)) is not None
            },
            score=Score.of(scoring) if scoring is not None else ONLY_PATH_COST,
            **asdict(Configuration.of(services)),
        )

    # Frames

    def _frame(self, now: int, port: int, frame: bytes, result: Result) -> None:
        frame = frames.untagged(frame)
        match frames.ether_type(frame):
            case words.ETHERTYPE_ARP:
                self._arp(port, frame, result)
            case words.ETHERTYPE_IPV4:
                self._ipv4(now, port, frames.parse(frame), result)
            case _:
                raise Refused("ETHERTYPE")

    def _own_address(self, port: int, source: int, frame: bytes, kind: str) -> int:
        """Of the switch at a port, where a source may speak, and the frame is for the switch. Raises Refused."""
        place = self._longest("sources", source, "source", port=port)
        if place is None or self._actions[place] != "speak":
            raise Refused("SOURCE")
        to, own = int.from_bytes(frame[:6]), self._tables[place]
        if to != own["mac"] and kind != _REPORT and (kind, to) != ("arp", words.BROADCAST):
            raise Refused("FOREIGN")
        return own["address"]

    def _arp(self, port: int, frame: bytes, result: Result) -> None:
        self._own_address(port, frames.sender(frame), frame, "arp")
        question = frames.question(frame)
        place = self._longest("arp", question.target)
        if place is None or self._tables[place]["home"] == port:
            raise Refused("ARP")
        self._send(port, port, question.answer(self._tables[place]["mac"]), result)

    def _ipv4(self, now: int, port: int, packet: Packet, result: Result) -> None:
        quote = packet.quote if packet.quote is not None and packet.quote.source == packet.destination else None
        protocol, own_port = packet.protocol, packet.destination_port
        if quote is not None:
            protocol, own_port = quote.protocol, quote.source_port
        place = Place("endpoints", (("address", packet.destination), ("protocol", protocol), ("port", own_port)))
        kind = self._actions.get(place, "elsewhere")
        own_address = self._own_address(port, packet.source, packet.frame, kind)
        try:
            if kind == _PING:
                self._send(port, port, frames.echo_reply(packet), result)
            elif kind == _REPORT:
                self._report(now, port, packet, result)
            elif kind == _REQUEST:
                self._request(now, port, packet, quote, self._tables[place]["service"], result)
            else:
                inner = self._taken_out(port, packet)
                self._count_answer(port, inner)
                self._route(port, inner, packet.destination, result)
        except Told as told:
            self._tell(now, port, own_address, told, result)
            raise

    def _taken_out(self, port: int, packet: Packet) -> Packet:
        """The packet out of its tunnel, if that ends here. Raises Refused for one that is not from its other end."""
        if packet.protocol != PROTOCOL_IPIP:
            return packet
        end = self._longest("tunnels", packet.source, "source", address=packet.destination)
        if end is None:
            return packet
        if self._actions[end] != "decapsulate" or self._tables[end]["port"] != port:
            raise Refused("TUNNEL")
        return frames.decapsulated(packet)

    def _tell(self, now: int, port: int, own_address: int, told: Told, result: Result) -> None:
        """Say that a packet does not get there, unless nobody may be told or too many were."""
        if not frames.may_be_told(told.packet):
            return
        ahead = self._spent.get(port, 0) - now & 2**48 - 1
        ahead = words.ERROR_INTERVAL + (ahead if ahead <= words.ERROR_SPAN else 0)
        if ahead > words.ERROR_SPAN:
            self.events["LIMITED"] += 1
            return
        self._spent[port] = now + ahead & 2**48 - 1
        own = told.code in (None, Unreachable.NET, Unreachable.HOST)
        answer = frames.icmp_error(told.packet, own_address if own else told.packet.destination, told.code)
        self._send(port, port, answer, result)
        self.events["TIME_EXCEEDED" if told.code is None else "UNREACHABLE"] += 1

    def _count_answer(self, port: int, packet: Packet) -> None:
        """Count a packet that an instance sends as its service."""
        key = {"address": packet.source, "protocol": packet.protocol, "service_port": packet.source_port}
        if (instance := self._entry("answers", port=port, **key)) is not None:
            self.answered[instance["service"] << MEMBER_BITS | instance["member"]] += 1

    def _route(self, port: int, packet: Packet, address: int, result: Result, tunnel_source: int | None = None) -> None:
        """Send a packet to where the address is routed, through a tunnel if it has a source."""
        place = self._longest("routes", address)
        action = self._actions[place] if place is not None else "no_route"
        if place is None or action != "forward":
            reason, code = _NOWHERE[action]
            if action == "own" and packet.fragment:
                reason, code = "FRAGMENT", Unreachable.PROHIBITED
            elif action == "own" and packet.segment is None and not packet.datagram:
                code = Unreachable.PROTOCOL
            raise Told(reason, packet, code)
        if packet.ttl <= 1:
            raise Told("TTL", packet)
        hop = self._tables[place]
        packet = frames.forwarded(packet, hop["source"], hop["destination"])
        frame = packet.frame if tunnel_source is None else frames.encapsulated(packet, tunnel_source, address)
        self._send(port, hop["port"], frame, result)

    def _send(self, port: int, out: int, frame: bytes, result: Result) -> None:
        if out == CPU_PORT:
            frame = PACKET_IN.pack(NO_PACKET_IN | {"op": PacketInOp.PACKET, "port": port}) + frame
        result.sent.append((out, frame))

    # Steering

    def _configured(self, index: int) -> ServiceSteering:
        if self._entry("services", service=index) is None or self._entry("policies", service=index) is None:
            raise Refused("UNCONFIGURED")
        return self._service(index)

    def _report(self, now: int, port: int, packet: Packet, result: Result) -> None:
        report = _decoded(packet.report)
        ids = {"service_id": report.service_id, "node_id": report.node_id}
        bound = self._entry("bindings", port=port, source=packet.source, **ids)
        if bound is None:
            raise Refused("REPORT_UNBOUND")
        if bound["authenticate"] and not _authentic(packet.report, bound):
            raise Refused("REPORT_FORGED")
        steering = self._configured(bound["service"])
        settings = InstanceSettings(bound["generation"], bound["path_cost"], bool(bound["doubted"]))
        outcome = steering.report(now, bound["member"], report, settings)
        if outcome.verdict is Verdict.OLD:
            raise Refused("REPORT_OLD")
        self.events["REPORT"] += 1
        self.reported[bound["service"] << MEMBER_BITS | bound["member"]] += 1
        result.events += [(bound["service"], event) for event in outcome.events]
        result.sent += [(copy, packet.frame) for copy in self.groups.get(bound["copy_group"], ())]

    def _request(self, now: int, port: int, packet: Packet, quote: Quote | None, index: int, result: Result) -> None:
        steering = self._configured(index)
        if packet.ttl <= 1:
            raise Told("TTL", packet)
        services = self._tables[Place("services", (("service", index),))]
        instances = {
            member: self._entry("instances", instance=index << MEMBER_BITS | member) for member in range(MEMBERS)
        }
        work = _work(packet, index, Affinity(services["affinity"])) if quote is None else _quoted(quote, index)

        def fits(member: int) -> bool:
            entry = instances[member]
            return entry is None or packet.total + frames.IPV4 <= entry.get("path_mtu", 65535)

        outcome = steering.request(now, work, self.draw, fits)
        result.events += [(index, event) for event in outcome.events]
        self._count(outcome)
        if outcome.place is not FlowPlace.NONE:
            self.newcomers[index << FLOW_PLACE_BITS | outcome.place] += 1
        entry = instances[outcome.member] if outcome.member is not None else None
        match outcome.verdict:
            case Verdict.STEERED:
                assert outcome.member is not None and entry is not None
                self.own[index << MEMBER_BITS | outcome.member] += packet.source == entry["node"]
                self._route(port, packet, entry["node"], result, entry.get("tunnel_source"))
                self.steered[index << MEMBER_BITS | outcome.member] += 1
            case Verdict.TOO_BIG:
                assert entry is not None
                if not packet.whole or not frames.may_be_told(packet):
                    raise Refused("MTU")
                room = entry["path_mtu"] - frames.IPV4 & 0xFFFF
                answer = frames.icmp_error(packet, packet.destination, Unreachable.TOO_BIG, room)
                self._send(port, port, answer, result)
                self.events["TOO_BIG"] += 1
            case Verdict.FALLBACK:
                self._route(port, packet, services["fallback"], result)
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

    def _packet_out(self, now: int, data: bytes, result: Result) -> None:
        if len(data) < PACKET_OUT.size:
            raise Refused("PARSER")
        asked, frame = PACKET_OUT.unpack(data[: PACKET_OUT.size]), data[PACKET_OUT.size :]
        op, port, service, member = asked.values()
        if op == PacketOutOp.SEND and port <= CPU_PORT:
            self._send(CPU_PORT, port, frame, result)
        elif op == PacketOutOp.INJECT and port <= CPU_PORT:
            self._frame(now, port, frame, result)
        elif op == PacketOutOp.PROBE and service < SERVICES and member < MEMBERS:
            own = self.own[service << MEMBER_BITS | member]
            answer = _answer(self.probe(now, service, member), own, now, asked)
            result.sent.append((CPU_PORT, answer + frame))
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


def _decoded(payload: bytes | None) -> Report:
    if payload is None:
        raise Refused("REPORT_MALFORMED")
    try:
        return decode(payload)
    except ReportError:
        raise Refused("REPORT_MALFORMED") from None


def _work(packet: Packet, index: int, affinity: Affinity) -> Work | None:
    """The packet as affinity sees it; None if nothing is to stay together. Raises Refused for a datagram without the
    header that its service's needs."""
    head = bytes([index, packet.protocol])
    if packet.segment is not None or affinity is Affinity.FLOW:
        ends = (packet.source, packet.destination, packet.source_port, packet.destination_port)
        segment: Segment | None = packet.segment
        starts = segment is None or (segment.syn and not segment.ack)
        return Work(head + struct.pack("!IIHH", *ends), starts, segment)
    if affinity is Affinity.NONE:
        return None
    header = packet.invocation
    if header is None or header[2] != INVOCATION_VERSION:
        raise Refused("INVOCATION")
    request = INVOCATION.unpack(header)
    starts = request["type"] == InvocationType.REQUEST
    if starts and request["flags"] & INVOCATION_ONCE and request["fragment_count"] == 1:
        return None
    return Work(head + header[8:20], starts, deadline_ms=request["deadline"])


def _answer(probe: Probe, own: int, now: int, asked: Mapping[str, int]) -> bytes:
    """The packet-in header that answers a probe."""
    report = probe.report or Report(service_id=0, node_id=0, epoch=0, sequence=0, ready=False)
    told = {field.name for field in fields(Report)} & dict(PACKET_IN_LAYOUT).keys()
    return PACKET_IN.pack(
        {
            **asked,
            **{name: getattr(report, name) for name in told},
            "op": PacketInOp.PROBE,
            "status": probe.status,
            "eligible": probe.eligible,
            "rank": probe.rank,
            "age": NEVER if probe.age is None else probe.age,
            "epoch": probe.epoch,
            "sequence": probe.sequence,
            "sent": probe.sent,
            "own": own,
            "held": report.queue_depth + report.in_flight,
            "host": NO_MEMBER_16 if probe.host is None else probe.host,
            "best": NO_MEMBER_16 if probe.best is None else probe.best,
            "best_rank": probe.best_rank,
            "now": now,
            "evidence": probe.evidence,
            "since": probe.since,
        }
    )
