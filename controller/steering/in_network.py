"""Steering in-network: the switches decide, the controller provisions, asks and listens."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from controller.keys.ring import Binding, BindingKeys
from controller.keys.rotation import KeysPendingError
from controller.observe.events import ClaimEvent, DigestEvent, ShareEvent, SwitchEvent
from controller.steering.audit import Audit, Verdict
from controller.steering.doubts import Doubt
from controller.steering.interface import (
    Hosts,
    Instances,
    InstanceView,
    Observation,
    SteeringContext,
    SteeringError,
)
from controller.switches.entries import Overrides
from controller.switches.session import Program, SwitchError, SwitchSession
from controller.switches.view import MemberState, SteeringEvent, SwitchState
from hitless.modes import IN_NETWORK, Mode
from hitless.mqtt.messages import SWITCHES_STEER, Metrics

log = logging.getLogger(__name__)

OBSERVE_TIMEOUT_S = 0.12
"""Longest that the status waits for the switches' probes; a switch answers within milliseconds."""
WATCH_S = 0.25
"""Between two checks of whether the switches are connected, which the event log tells."""


class InNetworkSteering:
    """The switches of a fabric, each in a session of its own: one that is away holds up nothing else."""

    mode: ClassVar[Mode] = IN_NETWORK
    at_node_addresses: ClassVar[bool] = False
    subscriptions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, context: SteeringContext) -> None:
        """Raises SwitchError without a compiled program."""
        program = Program.compiled()
        self._fabric = context.fabric
        self._record = context.record
        self._moved = context.moved
        self._overrides = Overrides(context.pins, context.keys, context.excluded)
        self._audit = Audit(self._fabric, context.room)
        self._sessions = {name: SwitchSession(self._fabric, name, program) for name in self._fabric.switches}
        for name, service in self._fabric.services.items():
            context.endpoints.set(name, str(service.address), service.port, SWITCHES_STEER)

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """The switches' states."""
        return {name: session.state for name, session in self._sessions.items()}

    @property
    def hosts(self) -> Hosts:
        """A service with one host at a time has one steering switch, so the first that knows one is right."""
        hosts: dict[str, str | None] = dict.fromkeys(self._fabric.services)
        for state in self.switches.values():
            for service, host in state.hosts.items():
                hosts[service] = hosts[service] or host
        return hosts

    @property
    def upstream_hosts(self) -> None:
        """Callers hold the services' own addresses, wherever the switches send their requests."""

    @property
    def instances(self) -> Instances:
        """Every instance by the last probe of it."""
        return {key: view_of(member) for state in self.switches.values() for key, member in state.members.items()}

    @property
    def doubts(self) -> Mapping[tuple[str, str], Doubt]:
        """By what the switches see."""
        return self._audit.doubts

    @property
    def migrations(self) -> Mapping[tuple[str, str], int]:
        """As the switches' digests told."""
        return sum((state.migrations for state in self.switches.values()), Counter())

    async def observe(self) -> Observation:
        """Probe every instance on every connected switch; an answer that is late is replaced by the last one."""
        connected = [session for session in self._sessions.values() if session.state.connected]
        members: dict[tuple[str, str], MemberState] = {}
        for session in connected:
            members |= session.state.members

        async def probe(session: SwitchSession, service: str) -> None:
            try:
                async with asyncio.timeout(OBSERVE_TIMEOUT_S):
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
        return Observation(hosts, {key: view_of(member) for key, member in members.items()})

    def check(self, service: str) -> None:
        """Every switch that steers the service must be there."""
        for session in self._sessions.values():
            steers = any(name == service for name, _ in self._fabric.services_on(session.name))
            if steers and not session.state.connected:
                raise SteeringError(f"switch {session.state.error or f'{session.name}: not connected yet'}")

    async def override(self, pins: Mapping[str, str], excluded: Collection[str]) -> None:
        """Write pins, and take excluded nodes from every switch; one that is away gets it when it is back."""
        await self._apply(replace(self._overrides, pins=dict(pins), excluded=frozenset(excluded)))

    async def set_keys(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Write the keys of reports to every switch; one that is away gets them when it is back."""
        try:
            await self._apply(replace(self._overrides, keys=dict(keys)))
        except SteeringError as error:
            raise KeysPendingError(str(error)) from error

    def presence(self, node: str, online: bool) -> None:
        """The switches judge nodes by their reports alone."""

    def metrics(self, service: str, node: str, metrics: Metrics) -> None:
        """The switches get the reports themselves."""

    def adopt(self, service: str, address: str) -> None:
        """The switches know where they steer."""

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
            if self._fabric.reports.claims != "believed":
                tasks.create_task(self._look_at_claims())

    async def _pass_on(self, session: SwitchSession, told: AsyncIterator[SteeringEvent]) -> None:
        async for event in told:
            self._record(digest_event(event))
            if event.moves:
                self._moved()

    async def _watch(self) -> None:
        before: dict[str, bool] = {}
        crowded: set[tuple[str, str]] = set()
        while True:
            for name, state in self.switches.items():
                for event in share_events(state, crowded):
                    self._record(event)
                if before.get(name, False) != state.connected:
                    before[name] = state.connected
                    error = None if state.connected else state.error
                    self._record(SwitchEvent(switch=name, connected=state.connected, target=state.target, error=error))
            await asyncio.sleep(WATCH_S)

    async def _look_at_claims(self) -> None:
        while True:
            verdicts = self._audit.look(time.monotonic(), self.switches)
            for verdict in verdicts:
                self._record(claim_event(verdict, bounded=self._fabric.reports.claims == "bounded"))
            if verdicts and self._fabric.reports.claims == "bounded":
                with suppress(SteeringError):  # a switch that is away gets it when it is back
                    await self._apply(replace(self._overrides, doubted=frozenset(self._audit.doubts)))
            await asyncio.sleep(WATCH_S)


def share_events(state: SwitchState, crowded: set[tuple[str, str]]) -> Iterator[ShareEvent]:
    """What has become of a switch's shares; `crowded` is kept: (switch, service) whose share is nearly full."""
    for service, gauge in state.shares.items():
        key, use = (state.name, service), gauge.use
        nearly_full = use is not None and use.nearly_full
        if nearly_full != (key in crowded):
            (crowded.add if nearly_full else crowded.discard)(key)
            taken = None if use is None else use.taken
            yield ShareEvent(switch=state.name, service=service, nearly_full=nearly_full, taken=taken)


def view_of(member: MemberState) -> InstanceView:
    """A probe's answer."""
    return InstanceView(
        status=member.status,
        rank=member.rank,
        age_us=member.age_us,
        epoch=member.epoch,
        sequence=member.sequence,
        eligible=member.eligible,
        report=member.report if member.age_us is not None else None,
        evidence=member.evidence,
        lasted_us=member.lasted_us,
    )


def claim_event(verdict: Verdict, *, bounded: bool) -> ClaimEvent:
    """What was found about an instance as the event log has it."""
    if verdict.doubt is None:
        return ClaimEvent(service=verdict.service, node=verdict.node, finding=None)
    evidence = verdict.doubt.evidence
    return ClaimEvent(
        service=verdict.service,
        node=verdict.node,
        finding=evidence.finding,
        seconds=round(evidence.seconds, 1),
        sent=evidence.sent,
        received=evidence.received,
        answered=evidence.answered,
        missing=evidence.missing,
        bounded_s=verdict.doubt.length_s if bounded else None,
    )


def digest_event(event: SteeringEvent) -> DigestEvent:
    """A switch's word as the event log has it."""
    return DigestEvent(
        time_ns=event.heard_ns,
        switch=event.switch,
        service=event.service,
        reason=event.reason,
        from_node=event.from_node,
        to_node=event.to_node,
        from_rank=event.from_rank,
        to_rank=event.to_rank,
        switch_time_us=event.switch_time_us,
        node=event.node,
        epoch=event.epoch,
        sequence=event.sequence,
    )
