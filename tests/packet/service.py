"""A service to try on a switch: its entries, what its nodes report, what its clients send, and where that went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from hitless.wire.report import Report
from hitless.words import FLOWS_PER_WAY, INVOCATION_MAGIC, MEMBER_BITS, NO_MEMBER_16, OFF
from tests.packet.layout import (
    CLIENT,
    CLIENT_MAC,
    CLIENT_PORT,
    FALLBACK,
    REPORTS,
    SWITCH_MAC,
    node_address,
    node_mac,
    node_port,
)
from tests.packet.p4runtime import entry
from tests.patience import PATIENCE, until

if TYPE_CHECKING:
    from tests.packet.bench import Bench


DEFAULTS = {"single": {"evidence": 0, "start_within": 2**48 - 1}}
"""What a policy gets unless a test says: one report moves a host, and no backlog does."""


@dataclass(frozen=True)
class Keys:
    """The keys that a binding's reports may be signed with; the id 0 is no key."""

    key_id: int = 0
    key: int = 0
    next_key_id: int = 0
    next_key: int = 0


@dataclass
class Service:
    """A service with an index and address of its own. Times in seconds, since tests wait for them."""

    bench: Bench
    index: int
    protocol: str = "udp"
    affinity: int = 0
    policy: tuple[str, dict[str, int]] = ("single", {"margin": 400, "dwell": 0})
    score: dict[str, int] = field(
        default_factory=lambda: {"w_cpu": 0, "w_memory": OFF, "w_queue": OFF, "busy_after": 0}
    )
    w_interval: int = OFF
    w_contention: int = OFF
    members: int = 4
    idle_after: float = 60
    stale_after: float = 60
    dead_after: float = 120
    on_no_live: int = 2
    share: tuple[int, int] = (0, FLOWS_PER_WAY)
    """First slot in each way of the flow store, and how many: every service has all of it, unless a test says."""
    old_share: tuple[int, int] = (0, 0)
    path_costs: dict[int, int] = field(default_factory=dict)
    port: int = 9000
    sequence: int = 0

    @property
    def service_id(self) -> int:
        """Its id in reports."""
        return 1000 + self.index

    @property
    def address(self) -> str:
        """Its virtual address."""
        return f"10.96.1.{self.index}"

    def write(self) -> None:
        """Write all its entries."""
        number = {"udp": 17, "tcp": 6}[self.protocol]
        self.bench.client.insert(
            entry(
                "endpoints",
                "to_service",
                match={"address": self.address, "protocol": number, "port": self.port},
                service=self.index,
            ),
            entry("endpoints", "to_ping", match={"address": self.address, "protocol": 1, "port": 0}),
            entry("routes", "own", match={"address": self.address}),
            self._services(),
            self._policies(),
            entry(
                "scoring",
                "score",
                match={"service": self.index},
                w_interval=self.w_interval,
                w_contention=self.w_contention,
                **self.score,
            ),
            *(self.binding(member) for member in range(self.members)),
            *(self.instance(member) for member in range(self.members)),
        )

    def _services(self) -> Any:
        return entry(
            "services",
            "configure",
            match={"service": self.index},
            affinity=self.affinity,
            members=self.members,
            idle_after=int(self.idle_after * 1e6),
            stale_after=int(self.stale_after * 1e6),
            dead_after=int(self.dead_after * 1e6),
            on_no_live=self.on_no_live,
            fallback=FALLBACK,
            first_slot=self.share[0],
            slots=self.share[1],
            old_first_slot=self.old_share[0],
            old_slots=self.old_share[1],
        )

    def _policies(self) -> Any:
        name, arguments = self.policy
        return entry("policies", name, match={"service": self.index}, **DEFAULTS.get(name, {}) | arguments)

    def binding(
        self,
        member: int,
        generation: int = 1,
        copy_group: int = 0,
        keys: Keys | None = None,
        *,
        doubted: bool = False,
    ) -> Any:
        """The entry that binds a member's reports."""
        return entry(
            "bindings",
            "bind",
            match={
                "port": node_port(member),
                "source": node_address(member),
                "service_id": self.service_id,
                "node_id": member + 1,
            },
            service=self.index,
            member=member,
            generation=generation,
            path_cost=self.path_costs.get(member, 0),
            copy_group=copy_group,
            authenticate=int(keys is not None),
            doubted=int(doubted),
            **asdict(keys or Keys()),
        )

    def instance(self, member: int, generation: int = 1) -> Any:
        """The entry that says where a member lives."""
        return entry(
            "instances",
            "at_node",
            match={"instance": self.index << MEMBER_BITS | member},
            node=node_address(member),
            generation=generation,
            path_cost=self.path_costs.get(member, 0),
        )

    def answers(self, member: int) -> Any:
        """The entry that counts a member's answers."""
        return entry(
            "answers",
            "from_instance",
            match={
                "port": node_port(member),
                "address": self.address,
                "protocol": {"udp": 17, "tcp": 6}[self.protocol],
                "service_port": self.port,
            },
            service=self.index,
            member=member,
        )

    def set_policy(self, name: str, **arguments: int) -> None:
        """Put it under another policy."""
        self.policy = (name, arguments)
        self.bench.client.modify(self._policies())

    def configure(self, **options: Any) -> None:
        """Change what `services` says of it."""
        for name, value in options.items():
            setattr(self, name, value)
        self.bench.client.modify(self._services())

    def report_frame(
        self, member: int, payload: bytes, *, port: int | None = None, source: str | None = None
    ) -> Packet:
        """A report's frame, as its node sends it."""
        return (
            Ether(src=node_mac(member), dst=SWITCH_MAC)
            / IP(src=source or node_address(member), dst=REPORTS[0], id=0)
            / UDP(sport=40000, dport=REPORTS[1])
            / Raw(payload)
        )

    def payload(self, member: int, *, ready: bool = True, **fields: Any) -> bytes:
        """A report, newer than the last one made here unless `sequence` says otherwise."""
        self.sequence += 1
        values = {"epoch": 1, "sequence": self.sequence, **fields}
        return Report(service_id=self.service_id, node_id=member + 1, ready=ready, **values).encode()

    def report(self, member: int, *, ready: bool = True, **fields: Any) -> None:
        """Send a member's report and wait until the switch has taken it in, with all that follows from it."""
        payload = self.payload(member, ready=ready, **fields)
        epoch, sequence = (int.from_bytes(payload[at : at + 4], "big") for at in (8, 12))
        self.bench.send(node_port(member), self.report_frame(member, payload))
        until(
            lambda: (told := self.probe(member))["sequence"] == sequence and told["epoch"] == epoch,
            f"the report of member {member}, epoch {epoch}, sequence {sequence} to be accepted",
        )

    def probe(self, member: int) -> dict[str, int]:
        """What the switch believes of a member."""
        return self.bench.probe(self.index, member)

    def host(self) -> int | None:
        """The host, by the probe."""
        host = self.probe(0)["host"]
        return None if host == NO_MEMBER_16 else host

    def digests(self, count: int, wait: float = PATIENCE) -> list[dict[str, int]]:
        """What the switch told about it, once that are `count` digests or time is up."""
        return self.bench.client.digests_of(self.index, count, wait)

    def datagram(self, payload: bytes = b"x", *, source: str = CLIENT, sport: int = 5000) -> Packet:
        """A client's datagram to it."""
        return (
            Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
            / IP(src=source, dst=self.address, id=0)
            / UDP(sport=sport, dport=self.port)
            / Raw(payload)
        )

    def fragment(
        self,
        request_id: int,
        index: int = 0,
        *,
        client_id: int = 7,
        kind: int = 1,
        count: int = 3,
        flags: int = 0,
        deadline_ms: int = 0,
    ) -> Packet:
        """A fragment of an invocation."""
        header = INVOCATION_MAGIC.to_bytes(2, "big") + bytes([1, kind, flags, 0]) + self.service_id.to_bytes(2, "big")
        header += client_id.to_bytes(4, "big") + request_id.to_bytes(8, "big") + bytes(8)
        header += deadline_ms.to_bytes(4, "big") + bytes(2)
        header += index.to_bytes(2, "big") + count.to_bytes(2, "big") + (10 * count).to_bytes(4, "big")
        return self.datagram(header + b"0123456789", sport=6000)

    def segment(self, flags: str, *, sport: int = 5000, source: str = CLIENT, payload: bytes = b"") -> Packet:
        """A TCP segment to it."""
        return (
            Ether(src=CLIENT_MAC, dst=SWITCH_MAC)
            / IP(src=source, dst=self.address, id=0)
            / TCP(sport=sport, dport=self.port, flags=flags)
            / Raw(payload)
        )

    def member_of(self, packet: Packet) -> int | None:
        """Send a packet; the member that it was steered to, or None if it came out nowhere."""
        answer = self.bench.exchange(CLIENT_PORT, packet)
        if answer is None:
            return None
        port, frame = answer
        prefix, _, last = str(frame[Ether].dst).rpartition(":")
        assert prefix == "02:00:00:00:01", f"not steered to a node: {frame.summary()}"
        member = int(last, 16)
        assert port == node_port(member)
        return member

    def ask(self, sport: int = 5000) -> int | None:
        """The member that a client's datagram is steered to."""
        return self.member_of(self.datagram(sport=sport))
