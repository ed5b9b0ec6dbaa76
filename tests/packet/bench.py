"""A switch under test with the steering program on it, among the hosts of `layout`."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import finsy as fy
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from hitless.words import (
    CPU_PORT,
    DROP_PORT,
    MEMBERS,
    PROTOCOL_ICMP,
    PROTOCOL_UDP,
    SERVICE_NETWORK,
    PacketInOp,
    PacketOutOp,
)
from p4src.build import ROOT
from tests.packet.artefacts import GUARD, MUTANT, P4INFO, PIPELINE
from tests.packet.clock import Clock
from tests.packet.layout import (
    ANY,
    CLIENT,
    CLIENT_MAC,
    CLIENT_PORT,
    FALLBACK,
    FALLBACK_MAC,
    GATEWAY,
    PORTS,
    REPORTS,
    SWITCH_MAC,
    node_address,
    node_mac,
    node_port,
)
from tests.packet.p4runtime import Client, entry
from tests.packet.service import Service
from tests.packet.wires import Frame, Wires, command_inside
from tests.patience import PATIENCE, until
from topologies import targets

MARK = bytes(12) + b"\x88\xb5" + b"mark".ljust(46)
"""A frame of an experimental type (IEEE 802), which no test sends for its own sake."""
_names = itertools.count()


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
            until(self._serves, f"{command[0]} to open its P4Runtime socket")
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
            self._process.wait(PATIENCE)
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
        self.push()
        self._indices = itertools.count(1)
        self._lay_out()

    def pass_time(self, seconds: float) -> None:
        """Let time pass on the switch's clock, which must be one that stands still meanwhile."""
        assert self.clock is not None
        self.clock.step(seconds)

    def copy(self, group: int, *ports: int) -> None:
        """Make a multicast group."""
        self.client.insert(fy.P4MulticastGroupEntry(group, replicas=ports))
        self._groups.append(group)

    def push(self) -> None:
        """Push the program: an empty switch."""
        self.client.push()
        if GUARD:
            self.client.write_register(MUTANT, GUARD)

    def _serves(self) -> bool:
        assert self._process.poll() is None, f"{self.target} ended with {self._process.returncode}"
        return (Path(self._scratch.name) / "p4runtime").exists()

    def _lay_out(self) -> None:
        """The entries that every test relies on: reports, the gateway, the client, the nodes and a fallback.

        Every port takes any source: who may speak where is what `test_ports` is about.
        """
        hosts = [(CLIENT, CLIENT_PORT, CLIENT_MAC), (FALLBACK, 4, FALLBACK_MAC)]
        hosts += [(node_address(member), node_port(member), node_mac(member)) for member in range(MEMBERS)]
        self.client.insert(
            *(
                entry("sources", "speak", match={"port": port, "source": ANY}, mac=SWITCH_MAC, address=GATEWAY)
                for port in (*self.wires.interfaces, CPU_PORT)
            ),
            entry("routes", "no_host", match={"address": str(SERVICE_NETWORK)}),
            *(entry("routes", "own", match={"address": address}) for address in (GATEWAY, REPORTS[0])),
            entry(
                "endpoints", "to_reports", match={"address": REPORTS[0], "protocol": PROTOCOL_UDP, "port": REPORTS[1]}
            ),
            entry("endpoints", "to_ping", match={"address": GATEWAY, "protocol": PROTOCOL_ICMP, "port": 0}),
            entry("arp", "reply", match={"address": GATEWAY}, mac=SWITCH_MAC, home=DROP_PORT),
            entry("arp", "reply", match={"address": str(SERVICE_NETWORK)}, mac=SWITCH_MAC, home=DROP_PORT),
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

    def told(self, port: int, packet: Packet | bytes, reason: str) -> Packet:
        """Send what is dropped for this reason; the ICMP error that its sender gets, which is all that comes out."""
        self.wires.flush()
        with self.counts("drops", reason):
            self.send(port, packet)
        (answer,) = self.sent()
        assert answer[0] == port
        return Ether(answer[1])

    def sent(self) -> list[Frame]:
        """All frames that the switch has sent and nobody has received. Marks that it sends behind them tell the end."""
        missing = set(self.wires.interfaces)
        for port in missing:
            self.client.packet_out(MARK, op=PacketOutOp.SEND, port=port, service=0, member=0)
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
        self.client.packet_out(payload, op=PacketOutOp.PROBE, port=0, service=service, member=member)
        answer = self.client.packet_in()
        assert answer is not None, "no answer to a probe"
        assert answer.payload == payload
        assert (answer["op"], answer["service"], answer["member"]) == (PacketInOp.PROBE, service, member)
        return {name: int(value) for name, value in answer.metadata.items()}
