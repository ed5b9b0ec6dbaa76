"""A lab: a switch, a client and nodes, each in a network namespace of its own that ends with this process.

The client is behind port 1 (its interface: `c`), node m behind port 2 + m (`n<m>`). Addresses are those of `frames.h`.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.switches.diff import Changes, Kind, Update
from controller.switches.entries import Act, Key, Place
from controller.switches.p4runtime import BATCH, Connection, Program
from experiments.native.namespaces import PATIENCE_S, Namespaces
from hitless.steering.policies import Policy
from hitless.steering.rank import ONLY_PATH_COST
from hitless.steering.settings import Configuration
from hitless.words import MEMBER_BITS, OFF, PROTOCOL_UDP, REPORT_ADDRESS, REPORT_PORT, SERVICE_PREFIX, Affinity
from topologies import targets
from topologies.processes import Process

CLIENT_PORT = 1
FIRST_NODE_PORT = 2
DEVICE_ID = 1
SWITCH_MAC = 0x02000000FFFE
CLIENT_MAC = 0x020000000001
NODE_MAC = 0x020000000100
CLIENT = int(IPv4Address("10.0.0.1"))
NODES = int(IPv4Address("10.0.1.0"))
SERVICES = int(SERVICE_PREFIX) + 0x100
REPORTS = int(REPORT_ADDRESS)
SERVICE_PORT = 9000
SERVICE_IDS = 1000
"""The id of service 0 in reports; that of service i is i more."""
FOREVER = 3_600_000_000
"""µs: longer than any experiment."""
REAL_TIME = ("chrt", "--fifo", "10")
"""How to run what stands for a machine of its own: it need not wait for this one's other work."""


@dataclass(frozen=True)
class Service:
    """A service of the lab: `index` on the switch, one instance on each node, chosen by `policy`."""

    index: int
    members: int
    policy: Policy
    w_queue: int = OFF
    """Left shift of the queue depth in a load, or off."""

    @property
    def configuration(self) -> Configuration:
        """It has no affinity, and nobody goes stale."""
        return Configuration(
            affinity=Affinity.NONE,
            members=self.members,
            idle_after=FOREVER,
            stale_after=FOREVER,
            dead_after=FOREVER,
        )


@dataclass
class Wired(Namespaces):
    """Namespaces around one called `switch`, to which the others are wired."""

    interfaces: dict[int, str] = field(default_factory=dict, kw_only=True)
    """The switch's, by port."""

    def node_port(self, member: int) -> int:
        """The switch's port that a node is behind."""
        return FIRST_NODE_PORT + member


@dataclass
class Network(Wired):
    """The namespaces `switch`, `client` and `nodes`, wired up, and the programs in them; a context manager.

    Logs are written to `folder`. The nodes share `wires` interfaces, node m behind `n<m modulo wires>`. Interfaces
    have their offloads off unless `offloads`.
    """

    wires: int
    offloads: bool = False

    def node_port(self, member: int) -> int:
        """The switch's port that a node is behind."""
        return FIRST_NODE_PORT + member % self.wires

    def lay(self) -> None:
        """The namespaces and their wires."""
        for name in ("switch", "client", "nodes"):
            self.make(name)
        ends = [("client", "c", CLIENT_PORT)]
        ends += [("nodes", f"n{wire}", FIRST_NODE_PORT + wire) for wire in range(self.wires)]
        for place, interface, port in ends:
            self.join(("switch", f"s{port}"), (place, interface), offloads=self.offloads)
        self.interfaces = {port: f"s{port}" for _, _, port in ends}

    def arrived(self, wire: int = 0) -> int:
        """Frames that the switch has sent to a nodes' interface so far."""
        return self.received(wire)[1]

    def received(self, wire: int = 0) -> tuple[int, int]:
        """Bytes and frames of them."""
        lines = self.run(["cat", "/proc/net/dev"], "nodes").splitlines()
        (line,) = [one for one in lines if one.strip().startswith(f"n{wire}:")]
        octets, frames = map(int, line.partition(":")[2].split()[:2])
        return octets, frames


@dataclass
class Lab:
    """A switch with the steering program in a network, and `nodes` nodes it knows; an async context manager.

    `launcher` goes before the switch's command line, which asks for a log of `log_level`; `options` go after it.
    """

    target: str
    nodes: int
    network: Wired
    launcher: Sequence[str] = ()
    options: Sequence[str] = ()
    program: Program = field(default_factory=Program.compiled)
    log_level: str = "warn"
    process: Process = field(init=False)
    _connection: Connection | None = None
    _socket: tempfile.TemporaryDirectory[str] = field(
        default_factory=partial(tempfile.TemporaryDirectory, prefix="lab-")
    )

    async def __aenter__(self) -> Self:
        targets.require(self.target)
        try:
            await self._start_switch()
            await self.write(self._hosts())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self.leave()
        self._socket.cleanup()

    async def leave(self) -> None:
        """Let another controller be primary; the lab writes nothing any more."""
        if self._connection is not None:
            await self._connection.__aexit__(None, None, None)
            self._connection = None

    @property
    def address(self) -> str:
        """Where the switch serves P4Runtime, for gRPC."""
        return f"unix:{self._socket.name}/p4runtime"

    @property
    def connection(self) -> Connection:
        """The lab's own, which is primary."""
        assert self._connection is not None
        return self._connection

    async def _start_switch(self) -> None:
        command = targets.command(
            self.target,
            device_id=DEVICE_ID,
            ports=self.network.interfaces,
            p4runtime=self.address,
            log_level=self.log_level,
        )
        self.process = self.network.start(self.target, [*self.launcher, *command, *self.options], "switch")
        deadline = time.monotonic() + PATIENCE_S
        while not Path(self.address.removeprefix("unix:")).exists():
            self.process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.target}: no P4Runtime after {PATIENCE_S} s; see {self.process.log}")
            await asyncio.sleep(0.01)
        connection = Connection(self.target, self.address, DEVICE_ID, self.program.schema())
        self._connection = await connection.__aenter__()
        await connection.become_primary()
        await connection.push()

    async def write(self, entries: Iterable[tuple[Place, Act]]) -> None:
        """Insert entries; an action's parameters that are not named are zero. Raises SwitchError."""
        actions = self.connection.schema.actions
        updates = [
            Update(
                Kind.INSERT,
                place,
                Act(act.name, tuple((one.name, dict(act.params).get(one.name, 0)) for one in actions[act.name].params)),
            )
            for place, act in entries
        ]
        batches = tuple(tuple(updates[at : at + BATCH]) for at in range(0, len(updates), BATCH))
        await self.connection.write(Changes(batches))

    def _hosts(self) -> Iterator[tuple[Place, Act]]:
        speak = Act("speak", (("mac", SWITCH_MAC),))
        for port in {CLIENT_PORT, *map(self.network.node_port, range(self.nodes))}:
            yield Place("sources", (("port", port), ("source", (0, 0)))), speak
        yield endpoint(REPORTS, REPORT_PORT), Act("to_reports")
        yield route(CLIENT, CLIENT_PORT, CLIENT_MAC)
        for member in range(self.nodes):
            yield route(NODES + member, self.network.node_port(member), NODE_MAC + member)

    def entries(self, service: Service) -> Iterator[tuple[Place, Act]]:
        """Everything that a service needs."""
        key: Key = (("service", service.index),)
        configuration, score = service.configuration, replace(ONLY_PATH_COST, queue=service.w_queue)
        yield Place("services", key), Act(configuration.action, configuration.params)
        yield Place("policies", key), Act(service.policy.action, service.policy.params)
        yield Place("scoring", key), Act(score.action, score.params)
        for member in range(service.members):
            node = NODES + member
            instance: Key = (("instance", service.index << MEMBER_BITS | member),)
            yield Place("instances", instance), Act("at_node", (("node", node), ("generation", 1)))
            binding: Key = (
                ("port", self.network.node_port(member)),
                ("source", node),
                ("service_id", SERVICE_IDS + service.index),
                ("node_id", member + 1),
            )
            bound = (("service", service.index), ("member", member), ("generation", 1))
            yield Place("bindings", binding), Act("bind", bound)
        yield endpoint(SERVICES + service.index, SERVICE_PORT), Act("to_service", (("service", service.index),))


def endpoint(address: int, port: int) -> Place:
    """The place of a UDP endpoint's entry."""
    return Place("endpoints", (("address", address), ("protocol", PROTOCOL_UDP), ("port", port)))


def route(address: int, port: int, mac: int) -> tuple[Place, Act]:
    """The entry that a host's frames leave by."""
    act = Act("forward", (("port", port), ("source", SWITCH_MAC), ("destination", mac)))
    return Place("routes", (("address", (address, 32)),)), act
