"""A switch under test with the steering program on it, and services to try on it.

Port 1 has a client, ports 2 to 4 have nodes. Member m of any service is an instance on a node of its own, with address
10.0.1.m behind port 2 + m % 3, so the destination MAC of a steered frame says which member it went to.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import finsy as fy
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from hitless.invocation import MAGIC as INVOCATION_MAGIC
from hitless.report import Report
from p4src.build import ROOT
from tests.packet.artefacts import GUARD, MUTANT, P4INFO, PIPELINE
from tests.packet.clock import Clock
from tests.packet.p4runtime import Client, entry
from tests.packet.wires import Frame, Wires, command_inside
from topologies import targets

PORTS = 4
CLIENT_PORT = 1
MEMBERS = 64
DROP_PORT = 511
SWITCH_MAC = "02:00:00:00:ff:fe"
GATEWAY = "10.0.0.254"
CLIENT = "10.0.0.1"
CLIENT_MAC = "02:00:00:00:00:01"
FALLBACK = "10.0.0.9"
FALLBACK_MAC = "02:00:00:00:00:09"
REPORTS = ("10.96.255.254", 9600)
PATIENCE = 3.0
"""Seconds until something that must happen is taken not to happen."""
MARK = bytes(12) + b"\x88\xb5" + b"mark".ljust(46)
"""A frame of an experimental type (IEEE 802), which no test sends for its own sake."""

READY, DRAINING, NOT_READY = 1, 2, 3
_names = itertools.count()


def node_address(member: int) -> str:
    """The address of the node that has every service's instance `member`."""
    return f"10.0.1.{member}"


def node_port(member: int) -> int:
    """The port that node is behind."""
    return 2 + member % 3


def node_mac(member: int) -> str:
    """That node's MAC address."""
    return f"02:00:00:00:01:{member:02x}"


class Bench:
    """A running target; a context manager."""

    def __init__(self, target: str, clock: Clock | None = None) -> None:
        self.target = target
        self.clock = clock
        """Of the switch, if the test is to set it."""
        self.wires = Wires(f"packet-{os.getpid()}-{next(_names)}", PORTS)
        self.client: Client
        self._scratch = tempfile.TemporaryDirectory(prefix="packet-")
        self._process: subprocess.Popen[bytes]
        self._indices = itertools.count(1)
        self._groups: list[int] = []
        self.names: dict[str, dict[str, int]] = {}
        """Index of each drop reason and event, by counter and name, as the P4Info says."""

    def __enter__(self) -> Bench:
        self.wires.__enter__()
        log = Path(self._scratch.name) / "log"
        address = f"unix:{self._scratch.name}/p4runtime"
        command = targets.command(self.target, device_id=1, ports=self.wires.interfaces, p4runtime=address)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command_inside(self.wires.name, command),
                cwd=ROOT,
                env=os.environ | (self.clock.environment if self.clock else {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            until(self._serves, f"{command[0]} to open its P4Runtime socket", wait=20)
            self.client = Client(address, 1, P4INFO, PIPELINE)
            self.names = {
                counter.preamble.name: {
                    pair.key: pair.value.int64_value
                    for annotation in counter.preamble.structured_annotations
                    for pair in annotation.kv_pair_list.kv_pairs
                }
                for counter in self.client.schema.p4info.counters
            }
            self._lay_out()
        except BaseException as error:
            error.add_note(f"{' '.join(command)} said:\n{log.read_text(errors='replace')[-4000:]}")
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if hasattr(self, "client"):
            self.client.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self.wires.__exit__(None, None, None)
        self._scratch.cleanup()

    @property
    def pid(self) -> int:
        """The process id of the target."""
        return self._process.pid

    def renew(self) -> None:
        """Push the program again: nothing is left of what was done so far."""
        # BMv2 keeps groups when a program is pushed.
        self.client.delete(*(fy.P4MulticastGroupEntry(group) for group in self._groups))
        self._groups.clear()
        self.client.push()
        self._indices = itertools.count(1)
        self._lay_out()

    def copy(self, group: int, *ports: int) -> None:
        """Make a multicast group."""
        self.client.insert(fy.P4MulticastGroupEntry(group, replicas=ports))
        self._groups.append(group)

    def _serves(self) -> bool:
        assert self._process.poll() is None, f"{self.target} ended with {self._process.returncode}"
        return (Path(self._scratch.name) / "p4runtime").exists()

    def _lay_out(self) -> None:
        """The entries that every test relies on: reports, the gateway, the client, the nodes and a fallback."""
        if GUARD:
            self.client.write_register(MUTANT, GUARD)
        hosts = [(CLIENT, CLIENT_PORT, CLIENT_MAC), (FALLBACK, 4, FALLBACK_MAC)]
        hosts += [(node_address(member), node_port(member), node_mac(member)) for member in range(MEMBERS)]
        self.client.insert(
            entry("endpoints", "to_reports", match={"address": REPORTS[0], "protocol": 17, "port": REPORTS[1]}),
            entry("endpoints", "to_ping", match={"address": GATEWAY, "protocol": 1, "port": 0}),
            entry("arp", "reply", match={"address": GATEWAY}, mac=SWITCH_MAC, home=DROP_PORT),
            entry("arp", "reply", match={"address": "10.96.0.0/16"}, mac=SWITCH_MAC, home=DROP_PORT),
            *(
                entry("routes", "forward", match={"address": address}, port=port, source=SWITCH_MAC, destination=mac)
                for address, port, mac in hosts
            ),
            *(
                entry("arp", "reply", match={"address": address}, mac=SWITCH_MAC, home=port)
                for address, port, _ in hosts
            ),
        )

    def service(self, **options: Any) -> Service:
        """A new service that no other test uses, with its entries written."""
        service = Service(self, next(self._indices), **options)
        service.write()
        return service

    def send(self, port: int, packet: Packet | bytes) -> None:
        """Send a frame to the switch."""
        self.wires.send(port, bytes(packet))

    def exchange(self, port: int, packet: Packet | bytes, wait: float = PATIENCE) -> tuple[int, Packet] | None:
        """Send a frame to the switch; the first frame that it sends, and out of which port."""
        self.wires.flush()
        self.send(port, packet)
        answer = self.wires.receive(wait)
        return None if answer is None else (answer[0], Ether(answer[1]))

    def receive(self, wait: float = PATIENCE) -> Frame | None:
        """The next frame that the switch sends."""
        return self.wires.receive(wait)

    def drops(self, reason: str) -> int:
        """How many packets were dropped so far for this reason."""
        return self.client.counter("drops", self.names["drops"][reason])

    def events(self, name: str) -> int:
        """How often this happened so far."""
        return self.client.counter("events", self.names["events"][name])

    @contextmanager
    def counts(self, counter: str, name: str, count: int = 1) -> Iterator[None]:
        """What happens in the block makes one cell of `drops` or `events` count exactly `count`."""
        index = self.names[counter][name]
        before = self.client.counter(counter, index)
        yield
        until(lambda: self.client.counter(counter, index) >= before + count, f"{counter}[{name}] to count {count}")
        assert self.client.counter(counter, index) == before + count

    @contextmanager
    def drops_one(self, reason: str) -> Iterator[None]:
        """What happens in the block is dropped for this reason, and nothing comes out of the switch."""
        self.wires.flush()
        with self.counts("drops", reason):
            yield
        assert self.sent() == []

    def sent(self) -> list[Frame]:
        """All frames that the switch has sent and nobody has received. Marks that it sends behind them tell the end."""
        missing = set(self.wires.interfaces)
        for port in missing:
            self.client.packet_out(MARK, op=0, port=port, service=0, member=0)
        frames = []
        while missing:
            frame = self.wires.receive(PATIENCE)
            assert frame is not None, f"no mark came out of ports {missing}"
            if frame[1] == MARK:
                missing.remove(frame[0])
            else:
                frames.append(frame)
        return frames

    def probe(self, service: int, member: int, payload: bytes = b"") -> dict[str, int]:
        """What the switch believes of a service's member."""
        self.client.packet_out(payload, op=1, port=0, service=service, member=member)
        answer = self.client.packet_in()
        assert answer is not None, "no answer to a probe"
        assert answer.payload == payload
        assert (answer["op"], answer["service"], answer["member"]) == (1, service, member)
        return {name: int(value) for name, value in answer.metadata.items()}


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
    score: dict[str, int] = field(default_factory=lambda: {"w_cpu": 0, "w_memory": 31, "w_queue": 31, "busy_after": 0})
    w_interval: int = 31
    members: int = 4
    idle_after: float = 60
    stale_after: float = 60
    dead_after: float = 120
    on_no_live: int = 2
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
            self._services(),
            self._policies(),
            entry("scoring", "score", match={"service": self.index}, w_interval=self.w_interval, **self.score),
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
        )

    def _policies(self) -> Any:
        return entry("policies", self.policy[0], match={"service": self.index}, **self.policy[1])

    def binding(self, member: int, generation: int = 1, copy_group: int = 0, keys: Keys | None = None) -> Any:
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
            **asdict(keys or Keys()),
        )

    def instance(self, member: int, generation: int = 1) -> Any:
        """The entry that says where a member lives."""
        return entry(
            "instances",
            "at_node",
            match={"instance": self.index << 6 | member},
            node=node_address(member),
            generation=generation,
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
        return None if host == 0xFFFF else host

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

    def fragment(self, request_id: int, index: int = 0, *, client_id: int = 7, kind: int = 1) -> Packet:
        """A fragment of an invocation."""
        header = INVOCATION_MAGIC.to_bytes(2, "big") + bytes([1, kind, 0, 0]) + self.service_id.to_bytes(2, "big")
        header += client_id.to_bytes(4, "big") + request_id.to_bytes(8, "big") + bytes(8 + 4 + 2)
        header += index.to_bytes(2, "big") + (3).to_bytes(2, "big") + (30).to_bytes(4, "big")
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


def until(condition: Callable[[], bool], what: str, wait: float = PATIENCE) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + wait
    while not condition():
        assert time.monotonic() < deadline, f"waited {wait} s for {what}"
        time.sleep(0.002)
