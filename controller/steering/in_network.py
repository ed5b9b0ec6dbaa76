"""Steering in-network: the switches decide, the controller provisions, asks and listens."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from controller.fabric.file import Fabric
from controller.keys.ring import Binding, BindingKeys
from controller.observe.events import EventLog
from controller.operator.documents import of_member
from controller.steering.interface import Sight, SteeringError
from controller.switches.entries import Overrides
from controller.switches.session import Program, SwitchError, SwitchSession
from controller.switches.view import MemberState, SteeringEvent, SwitchState

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 0.12
"""Longest that the status waits for the switches' probes; a switch answers within milliseconds."""
WATCH_S = 0.25
"""Between two looks at whether the switches are connected, which the event log tells."""


class SwitchSteering:
    """The switches of a fabric, each in a session of its own: one that is away holds up nothing else."""

    def __init__(self, fabric: Fabric, events: EventLog, overrides: Overrides, moved: Callable[[], None]) -> None:
        """`moved` is called when a service's host has changed, or has become known."""
        program = Program.compiled()
        self._fabric = fabric
        self._events = events
        self._overrides = overrides
        self._moved = moved
        self._sessions = {name: SwitchSession(fabric, name, program) for name in fabric.switches}

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """The switches' states."""
        return {name: session.state for name, session in self._sessions.items()}

    @property
    def hosts(self) -> Mapping[str, str | None]:
        """A service with one host at a time has one steering switch, so the first that knows one is right."""
        hosts: dict[str, str | None] = dict.fromkeys(self._fabric.services)
        for session in self._sessions.values():
            for service, host in session.state.hosts.items():
                hosts[service] = hosts[service] or host
        return hosts

    async def look(self) -> Sight:
        """Probe every instance on every connected switch; an answer that is late is replaced by the last one."""
        connected = [session for session in self._sessions.values() if session.state.connected]
        members: dict[tuple[str, str], MemberState] = {}
        for session in connected:
            members |= session.state.members

        async def probe(session: SwitchSession, service: str) -> None:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    for member in await session.probe(service):
                        members[service, member.node] = member
            except (TimeoutError, SwitchError) as error:
                log.debug("%s: probe of %s: %s", session.name, service, error)

        await asyncio.gather(
            *(probe(session, service) for session in connected for service, _ in self._fabric.services_on(session.name))
        )
        hosts = dict(self.hosts)
        for (service, _), member in members.items():
            hosts[service] = member.host or hosts[service]
        return Sight(hosts, {key: of_member(member) for key, member in members.items()})

    def check(self, service: str) -> None:
        """Every switch that steers the service must be there."""
        for session in self._sessions.values():
            steers = any(name == service for name, _ in self._fabric.services_on(session.name))
            if steers and not session.state.connected:
                raise SteeringError(f"switch {session.state.error or f'{session.name}: not connected yet'}")

    async def pin(self, pins: Mapping[str, str]) -> None:
        """Write the pins to every switch; one that is away gets them when it is back."""
        await self._apply(replace(self._overrides, pins=dict(pins)))

    async def key(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Write the keys of reports to every switch; one that is away gets them when it is back."""
        await self._apply(replace(self._overrides, keys=dict(keys)))

    async def _apply(self, overrides: Overrides) -> None:
        self._overrides = overrides
        problems = []
        for session in self._sessions.values():
            try:
                changes = await session.apply(overrides)
            except SwitchError as error:
                problems.append(str(error))
            else:
                for update in changes.updates:
                    log.info("%s: %s", session.name, update)
        if problems:
            raise SteeringError("; ".join(problems))

    async def run(self) -> None:
        """Run every session, and pass on what the switches tell."""
        async with asyncio.TaskGroup() as tasks:
            for session in self._sessions.values():
                tasks.create_task(self._pass_on(session, session.events()))
                with suppress(SwitchError):  # not connected yet: it is what the first connection finds
                    await session.apply(self._overrides)
                tasks.create_task(session.run())
            tasks.create_task(self._watch())

    async def _pass_on(self, session: SwitchSession, told: AsyncIterator[SteeringEvent]) -> None:
        async for event in told:
            self._events.add("digest", **digest_fields(event))
            if event.moves:
                self._moved()

    async def _watch(self) -> None:
        before: dict[str, bool] = {}
        while True:
            for name, state in self.switches.items():
                if before.get(name, False) != state.connected:
                    before[name] = state.connected
                    what = f"connected at {state.target}" if state.connected else f"lost: {state.error}"
                    self._events.add("switch", switch=name, what=what, connected=state.connected)
            await asyncio.sleep(WATCH_S)


def digest_fields(event: SteeringEvent) -> dict[str, object]:
    """A switch's word as an event of the log has it."""
    return {
        "time_ns": event.heard_ns,
        "switch": event.switch,
        "service": event.service,
        "reason": event.reason_name,
        "from": event.from_node,
        "to": event.to_node,
        "from_rank": event.from_rank,
        "to_rank": event.to_rank,
        "switch_time_us": event.switch_time_us,
        "node": event.node,
        "epoch": event.epoch,
        "sequence": event.sequence,
    }
