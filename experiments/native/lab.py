"""A lab: a switch, a client and nodes, each in a network namespace of its own that ends with this process.

The client is behind port 1 (its interface: `c`), node m behind port 2 + m (`n<m>`). Addresses are those of `frames.h`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
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
from hitless.exits import with_starter
from hitless.steering.policies import Policy
from hitless.steering.rank import ONLY_PATH_COST
from hitless.steering.settings import Configuration
from hitless.words import MEMBER_BITS, OFF, PROTOCOL_UDP, REPORT_ADDRESS, REPORT_PORT, SERVICE_PREFIX, Affinity
from topologies import processes, targets
from topologies.network import OFFLOADS
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
PATIENCE_S = 20.0
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
class Network:
    """The namespaces `switch`, `client` and `nodes`, wired up, and the programs in them; a context manager.

    Logs are written to `folder`. The nodes share `wires` interfaces, node m behind `n<m modulo wires>`. Interfaces
    have their offloads off unless `offloads`.
    """

    folder: Path
    wires: int
    offloads: bool = False
    interfaces: dict[int, str] = field(default_factory=dict)
    """The switch's, by port."""
    _processes: list[Process] = field(default_factory=list)
    _namespaces: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        try:
            self._lay_wires()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes.stop(list(reversed(self._processes)))
        self._processes.clear()

    def node_port(self, member: int) -> int:
        """The switch's port that a node is behind."""
        return FIRST_NODE_PORT + member % self.wires

    def _lay_wires(self) -> None:
        for name in ("switch", "client", "nodes"):
            self._namespaces[name] = self._namespace(name)
        ends = [("client", "c", CLIENT_PORT)]
        ends += [("nodes", f"n{wire}", FIRST_NODE_PORT + wire) for wire in range(self.wires)]
        for place, interface, port in ends:
            pids = [str(self._namespaces[name]) for name in ("switch", place)]
            near = ["ip", "link", "add", f"s{port}", "netns", pids[0]]
            run(*near, "type", "veth", "peer", "name", interface, "netns", pids[1])
            for where, end in (("switch", f"s{port}"), (place, interface)):
                if not self.offloads:
                    self._run_in(where, "ethtool", "-K", end, *(word for name in OFFLOADS for word in (name, "off")))
                self._run_in(where, "ip", "link", "set", end, "up")
        self.interfaces = {port: f"s{port}" for _, _, port in ends}

    def _namespace(self, name: str) -> int:
        """The process that holds a new network namespace, in which it said so; both are gone when this process is."""
        said, line = os.pipe()
        with os.fdopen(said, "rb") as inside:
            try:
                holder = self._start(
                    name, ["unshare", "--net", "sh", "-c", "echo && exec sleep infinity >&2"], stdout=line
                )
            finally:
                os.close(line)
            if not inside.readline():
                holder.handle.wait(PATIENCE_S)
                holder.check()
        for setting in ("all", "default"):
            run(*processes.in_namespace(holder.pid, ["sysctl", "-qw", f"net.ipv6.conf.{setting}.disable_ipv6=1"]))
        return holder.pid

    def _start(self, name: str, command: Sequence[str], place: str | None = None, stdout: int | None = None) -> Process:
        line = command if place is None else processes.in_namespace(self._namespaces[place], command)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            handle = subprocess.Popen(
                with_starter(line),
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(Process(name, handle, log))
        return self._processes[-1]

    def _run_in(self, place: str, *command: str) -> str:
        return run(*processes.in_namespace(self._namespaces[place], command))

    def start(self, name: str, command: Sequence[str], place: str) -> Process:
        """Start a program in a namespace; it ends with the network at the latest."""
        return self._start(name, command, place)

    def stop(self, process: Process) -> None:
        """End a program that `start` started."""
        processes.stop([process])
        self._processes.remove(process)

    def namespace(self, place: str) -> Path:
        """The file of a network namespace, for setns(2)."""
        return Path(f"/proc/{self._namespaces[place]}/ns/net")

    def run(self, command: Sequence[str], place: str) -> str:
        """Run a program in a namespace to its end; what it printed. Raises RuntimeError if it fails."""
        return self._run_in(place, *command)

    def arrived(self, wire: int = 0) -> int:
        """Frames that the switch has sent to a nodes' interface so far."""
        return self.received(wire)[1]

    def received(self, wire: int = 0) -> tuple[int, int]:
        """Bytes and frames of them."""
        lines = self._run_in("nodes", "cat", "/proc/net/dev").splitlines()
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
    network: Network
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
        if self._connection is not None:
            await self._connection.__aexit__(None, None, None)
            self._connection = None
        self._socket.cleanup()

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


def run(*command: str) -> str:
    """Run a command to its end; what it printed. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
