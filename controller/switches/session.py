"""A switch kept as the fabric wants it: connects, provisions by diff, listens, probes, connects again."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import NoReturn
from weakref import WeakSet

import finsy as fy

from controller.fabric.schema import Fabric, Service
from controller.switches.counters import CounterReading, behind
from controller.switches.diff import Changes, creation_order, diff
from controller.switches.entries import Entries, Overrides, desired_entries, heard_of
from controller.switches.p4runtime import Connection, Program, SwitchError, references
from controller.switches.reach import listens, until_listens
from controller.switches.shares import ShareGauge, with_old_shares
from controller.switches.view import MemberState, SteeringEvent, SwitchCounters, SwitchState, reason_name
from hitless.backoff import Backoff
from hitless.cancellation import raise_if_cancelled, until_one_ends
from hitless.steering.arithmetic import elapsed
from hitless.steering.outcome import EVICTIONS, MOVES
from hitless.tls import Identity
from hitless.wire.report import Report
from hitless.words import (
    NEVER,
    NO_MEMBER,
    NO_MEMBER_16,
    PACKET_IN_LAYOUT,
    MemberStatus,
    PacketInOp,
    PacketOutOp,
    Reason,
)

__all__ = ["Program", "SwitchError", "SwitchSession"]

LOG = logging.getLogger(__name__)

DIGEST = "steering_event_t"
PROBE_TIMEOUT = 2.0
"""Seconds a probe may take."""
POLL_INTERVAL = 1.0
"""Seconds between two polls of ranks, hosts and counters."""
RECONCILE_INTERVAL = 60.0
"""Seconds between two looks whether the switch still has the entries that were written."""
DIGEST_PATIENCE = 1.5
"""Seconds that a digest may be on its way when the probe has already shown another host."""
HOST_PATIENCE = 0.25
"""Seconds in which a node that was a host reports to a switch that was started anew, if it lives: five intervals."""
FIRST_RETRY = 0.1
"""Seconds to the next attempt at a switch that listens and refuses; doubled with every one, up to `LAST_RETRY`."""
LAST_RETRY = 3.0
REMEMBERED = {field.name for field in fields(Report)} & dict(PACKET_IN_LAYOUT).keys()
"""Of a report: what the answer to a probe tells."""


class NoAnswer(SwitchError):
    """A probe came to nothing, on a switch that is connected."""


class SwitchSession:
    """One switch of the fabric. Its calls raise SwitchError while the switch is away."""

    def __init__(self, fabric: Fabric, name: str, program: Program | None = None) -> None:
        spec = fabric.switches[name]
        self.fabric = fabric
        self.name = name
        self.state = SwitchState(name, spec.p4runtime)
        self._device_id = spec.device_id
        secured = fabric.tls.switches if not spec.p4runtime.startswith("unix:") else None
        self._tls = Identity(Path(secured)) if secured is not None else None
        self._schema = (program or Program.compiled()).schema()
        self._order = creation_order(references(self._schema))
        self._counters = CounterReading(fabric, name, self._schema)
        self._overrides = Overrides()
        self._connection: Connection | None = None
        self._entries: Entries | None = None
        """What this connection has left on the switch, of which it is the primary; None: to be read."""
        self._writing = asyncio.Lock()
        self._ready = asyncio.Event()
        self._probes: dict[bytes, asyncio.Future[fy.P4PacketIn]] = {}
        self._probe_numbers = itertools.count()
        self._subscribers: WeakSet[asyncio.Queue[SteeringEvent]] = WeakSet()
        self._awaiting_digest: dict[str, tuple[str | None, float]] = {}
        self._moved_at: dict[str, int] = {}
        """Service -> when the switch moved it, on the switch's clock, by the last digest."""

    async def run(self) -> None:
        """Keep the switch connected and provisioned until cancelled."""
        backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        while True:
            before = self.state.connects
            try:
                await self._serve()
            except SwitchError as error:
                self._lost(error)
            raise_if_cancelled()
            if self.state.connects > before:
                backoff.reset()
            if await listens(self.state.target):
                await asyncio.sleep(backoff.next())
            else:
                # Gone, and not at odds with us: the one who comes back is asked at once.
                await until_listens(self.state.target)
                backoff.reset()

    async def ready(self) -> None:
        """Wait until the switch is connected and provisioned."""
        await self._ready.wait()

    async def apply(self, overrides: Overrides) -> Changes:
        """Make this the operators' word over the fabric file, and write what it changes.

        While the switch is away it raises SwitchError, and writes it when the switch is back.
        """
        self._overrides = overrides
        return await self._provision(self._connected())

    async def reconcile(self) -> Changes:
        """Read all that the switch has, and put right what others have written. Raises SwitchError."""
        self._entries = None
        return await self._provision(self._connected())

    async def probe(self, service: str, node: str | None = None) -> list[MemberState]:
        """Ask the switch what it believes of a service's instances, or of one. Raises SwitchError."""
        spec = self.fabric.services[service]
        nodes = [node] if node is not None else list(spec.instances)
        answers = await asyncio.gather(*(self._ask(service, spec, one) for one in nodes), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, MemberState)]

    async def counters(self) -> SwitchCounters:
        """Read the switch's counters. Raises SwitchError."""
        return self._counters.counted(await self._connected().read(self._counters.cells()))

    def events(self) -> AsyncIterator[SteeringEvent]:
        """What the switch tells from this call on, in order, across reconnects."""
        queue: asyncio.Queue[SteeringEvent] = asyncio.Queue()
        self._subscribers.add(queue)
        return _drain(queue)

    async def _serve(self) -> None:
        async with Connection(self.name, self.state.target, self._device_id, self._schema, self._tls) as connection:
            await connection.become_primary()
            self._entries = None
            try:
                await until_one_ends(self._listen(connection), self._keep(connection))
            finally:
                self._connection = None

    def _lost(self, error: SwitchError) -> None:
        if self.state.error != str(error):
            LOG.warning("%s", error)
        self.state.connected = False
        self.state.error = str(error)
        self._connection = None
        self._ready.clear()
        for waiting in self._probes.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._probes.clear()
        self._moved_at.clear()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise SwitchError(self.state.error or f"{self.name} ({self.state.target}): not connected yet")
        return self._connection

    async def _listen(self, connection: Connection) -> NoReturn:
        async for message in connection.messages():
            if isinstance(message, fy.P4DigestList):
                for fields in message:
                    self._heard(fields)
                await connection.send(message.ack())
            elif message["op"] == PacketInOp.PROBE:
                waiting = self._probes.pop(message.payload, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        raise AssertionError("messages() ends by an exception")

    async def _keep(self, connection: Connection) -> NoReturn:
        if await self._install(connection):
            await self._give_hosts_back(connection)
        changes = await self._provision(connection)
        LOG.info("%s: connected, %d entries written", self.name, len(changes.updates))
        self._connection = connection
        self.state.connected = True
        self.state.connects += 1
        self._ready.set()
        due = time.monotonic() + RECONCILE_INTERVAL
        while True:
            try:
                await self._poll()
                self.state.error = None
            except NoAnswer as error:
                self.state.error = str(error)
            await asyncio.sleep(POLL_INTERVAL)
            if time.monotonic() >= due:
                for update in (await self.reconcile()).updates:
                    LOG.warning("%s: put right what somebody else wrote: %s", self.name, update)
                due = time.monotonic() + RECONCILE_INTERVAL

    async def _install(self, connection: Connection) -> bool:
        """Have the program there, and say whether it was installed: the switch then is empty."""
        empty = await connection.cookie() != self._schema.p4cookie
        if empty:
            LOG.info("%s: installing the program", self.name)
            await connection.forget_replication()
            await connection.push()
            self.state.pushes += 1
        self.state.cookie = self._schema.p4cookie
        await connection.ask_for_digests(DIGEST)
        return empty

    async def _give_hosts_back(self, connection: Connection) -> None:
        """Have an empty switch make those nodes the hosts of `single` services that were, for their connections' sake.

        The first report that it hears decides; what it knew of flows is lost, and it sends them to the host.
        """
        before = {
            name: host
            for name, service in self.fabric.services_on(self.name)
            if service.policy.one_host and (host := self.state.hosts.get(name)) is not None
        }
        events = self.events()
        await self._provision(connection, before)
        awaited = set(before)
        with suppress(TimeoutError):
            async with asyncio.timeout(HOST_PATIENCE):
                while awaited:
                    awaited.discard((await anext(events)).service)

    async def _provision(self, connection: Connection, hosts: Mapping[str, str] | None = None) -> Changes:
        """Write what differs; with `hosts`, all but what would let a switch hear of others than those."""
        async with self._writing:
            desired: Entries = desired_entries(self.fabric, self.name, self._overrides)
            if hosts is not None:
                desired = heard_of(self.fabric, desired, hosts)
            if self._entries is not None:
                with suppress(SwitchError):  # somebody else wrote what is in the way: see what there is
                    return await self._write(connection, self._entries, desired)
            return await self._write(connection, await connection.read_entries(), desired)

    async def _write(self, connection: Connection, present: Entries, desired: Entries) -> Changes:
        wanted = with_old_shares(desired, present)
        changes = diff(present, wanted, self._order)
        self._entries = None  # should it fail half-way
        await connection.write(changes)
        self._entries = wanted
        return changes

    async def _poll(self) -> None:
        """Refresh what the state tells, and catch up with host changes whose digest nobody heard."""
        for service, _ in self.fabric.services_on(self.name):
            for member in await self.probe(service):
                self.state.members[service, member.node] = member
            # An answer may be looked at after a digest that left the switch later.
            if member.now_us >= self._moved_at.get(service, 0):
                self._compare(service, member.host)
        for service, node in behind(self.fabric, self.name):
            if self.name in self.fabric.steering_switches(service):
                member = self.state.members[service, node]
            else:
                (member,) = await self.probe(service, node)
            self.state.behind[service, node] = member
        self.state.counters = await self.counters()
        for service, _ in self.fabric.services_on(self.name):
            gauge = self.state.shares.setdefault(service, ShareGauge())
            gauge.see(self.state.counters.newcomers.get(service, {}), time.monotonic())
        self.state.polled_at = time.monotonic()

    def _compare(self, service: str, host: str | None) -> None:
        """Believe the probe, and tell of a change unless its digest comes within `DIGEST_PATIENCE`."""
        if service not in self.state.hosts and not self.state.pushes and host is not None:
            # A switch that was at work before this controller: what it told then, nobody repeats.
            self._publish(self._unheard(service, None, host))
        known = self.state.hosts.get(service)
        self.state.hosts[service] = host
        now = time.monotonic()
        if host != known:
            self._awaiting_digest.setdefault(service, (known, now))
        elif service in self._awaiting_digest:
            before, since = self._awaiting_digest[service]
            if before == host:
                del self._awaiting_digest[service]
            elif now - since >= DIGEST_PATIENCE:
                self._publish(self._unheard(service, before, host))

    def _unheard(self, service: str, known: str | None, host: str | None) -> SteeringEvent:
        members = self.state.members
        before, after = members.get((service, known or "")), members.get((service, host or ""))
        return SteeringEvent(
            switch=self.name,
            service=service,
            reason=None,
            from_node=known,
            to_node=host,
            from_rank=before.rank if before else 0,
            to_rank=after.rank if after else 0,
            switch_time_us=after.now_us if after else 0,
            node=None,
            epoch=0,
            sequence=0,
            heard_ns=time.monotonic_ns(),
        )

    def _heard(self, fields: Mapping[str, int]) -> None:
        service = self.fabric.service_at(fields["service"])
        if (
            service is None
            or fields["reason"] not in MOVES | EVICTIONS
            or self.name not in self.fabric.steering_switches(service)
        ):
            LOG.warning("%s: a digest that the fabric cannot explain: %s", self.name, dict(fields))
            return
        spec = self.fabric.services[service]
        self._publish(
            SteeringEvent(
                switch=self.name,
                service=service,
                reason=Reason(fields["reason"]),
                from_node=_node(spec, fields["from_member"], NO_MEMBER),
                to_node=_node(spec, fields["to_member"], NO_MEMBER),
                from_rank=fields["from_rank"],
                to_rank=fields["to_rank"],
                switch_time_us=fields["switch_time"],
                node=self.fabric.node_with_id(fields["node_id"]),
                epoch=fields["epoch"],
                sequence=fields["sequence"],
                heard_ns=time.monotonic_ns(),
            )
        )

    def _publish(self, event: SteeringEvent) -> None:
        if event.moves:
            self.state.hosts[event.service] = event.to_node
            self._moved_at[event.service] = event.switch_time_us
            self._awaiting_digest.pop(event.service, None)
            if event.from_node is not None:
                self.state.migrations[event.service, reason_name(event.reason)] += 1
        for queue in self._subscribers:
            queue.put_nowait(event)

    async def _ask(self, service: str, spec: Service, node: str) -> MemberState:
        connection = self._connected()
        # The answer carries the probe's own payload.
        token = next(self._probe_numbers).to_bytes(8)
        answer = self._probes[token] = asyncio.get_running_loop().create_future()
        member = spec.instances[node].member
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await connection.send(
                    fy.P4PacketOut(token, op=PacketOutOp.PROBE, port=0, service=spec.index, member=member)
                )
                return _member_state(service, spec, node, await answer)
        except TimeoutError:
            raise NoAnswer(
                f"{self.name} ({self.state.target}): no answer to a probe of {service} on {node} "
                f"within {PROBE_TIMEOUT:g} s"
            ) from None
        finally:
            self._probes.pop(token, None)


def _member_state(service: str, spec: Service, node: str, packet: fy.P4PacketIn) -> MemberState:
    return MemberState(
        service=service,
        node=node,
        member=packet["member"],
        status=MemberStatus(packet["status"]),
        eligible=bool(packet["eligible"]),
        rank=packet["rank"],
        age_us=None if packet["age"] == NEVER else packet["age"],
        epoch=packet["epoch"],
        sequence=packet["sequence"],
        sent=packet["sent"],
        own=packet["own"],
        received=packet["received"],
        held=packet["held"],
        host=_node(spec, packet["host"], NO_MEMBER_16),
        best=_node(spec, packet["best"], NO_MEMBER_16),
        best_rank=packet["best_rank"],
        now_us=packet["now"],
        report=Report(
            service_id=spec.service_id,
            node_id=0,
            ready=packet["status"] != MemberStatus.NOT_READY,
            **{name: packet[name] for name in REMEMBERED},
        ),
        evidence=packet["evidence"],
        lasted_us=elapsed(packet["now"], packet["since"]),
    )


def _node(service: Service, member: int, none: int) -> str | None:
    return None if member == none else service.node_of(member)


async def _drain(queue: "asyncio.Queue[SteeringEvent]") -> AsyncIterator[SteeringEvent]:
    while True:
        yield await queue.get()
