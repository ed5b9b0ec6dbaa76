"""Carries out what the operator asks for, and lets go of migrations when their time is over."""

import asyncio
import time
from collections.abc import Callable

from controller.keys.rotation import KeyKeeper
from controller.nodes.link import NodeLink
from controller.observe.events import CommandEvent, Event, PinEvent
from controller.operator import sentences
from controller.operator.documents import (
    DrainResult,
    ExcludeResult,
    MigrateResult,
    ReleaseResult,
    RestartResult,
    RotateKeysResult,
)
from controller.operator.fitness import unfit
from controller.operator.overrides import CommandError, OperatorIntent
from controller.steering.interface import InstanceView, Steering, SteeringError
from hitless.files import StateError
from hitless.mqtt.messages import LogsAsked, LogsTold
from hitless.steering.units import US_PER_MS

PINS_LOOKED_AT_S = 0.5
"""Between two looks whether pinned instances can serve."""


class Commands:
    """The operator's commands. A call that raises CommandError has changed nothing."""

    def __init__(
        self,
        intent: OperatorIntent,
        steering: Steering,
        keys: KeyKeeper,
        nodes: NodeLink,
        *,
        broker_error: Callable[[], str | None],
        record: Callable[[Event], object],
        save: Callable[[], None],
        assign_roles: Callable[[], None],
    ) -> None:
        """`save` puts the intent on disk, `assign_roles` tells the nodes of it, `record` takes events into the log."""
        self._intent = intent
        self._steering = steering
        self._keys = keys
        self._nodes = nodes
        self._broker_error = broker_error
        self._record = record
        self._save = save
        self._assign_roles = assign_roles
        self._pinned = asyncio.Event()
        self._applying = asyncio.Lock()

    async def migrate(self, service: str, node: str, *, hold: bool, force: bool = False) -> MigrateResult:
        """Make a node the host of a service's new work; `force`: even if it cannot serve. Raises CommandError."""
        self._intent.check(service, node)
        before = self._steering.hosts.get(service)
        try:
            self._steering.check(service)
        except SteeringError as error:
            raise CommandError(f"{error}; {service} stays as it is") from error
        observed = await self._steering.observe()
        reason = self._unfit(service, node, observed.instances.get((service, node)))
        if reason is not None and not force:
            raise CommandError(f"{service} on {node} is {reason}; it stays as it is (--force moves it all the same)")
        override = self._intent.migrate(service, node, hold=hold, now=time.monotonic())
        self._save()
        outcome = sentences.migrated(override, before, await self._apply())
        self._done("migrate", service, node, outcome)
        return MigrateResult(service=service, node=node, held=hold, message=sentences.answer(outcome, service))

    async def release(self, service: str) -> ReleaseResult:
        """Let go of a service. Raises CommandError."""
        if not self._intent.release(service):
            return ReleaseResult(service=service, released=False, message=sentences.not_held(service))
        self._save()
        outcome = sentences.released(await self._apply())
        self._done("release", service, None, outcome)
        return ReleaseResult(service=service, released=True, message=sentences.answer(outcome, service))

    async def drain(self, service: str, node: str, *, undo: bool) -> DrainResult:
        """Let an instance take no new work, or take it again. Raises CommandError."""
        changed = self._intent.drain(service, node, undo=undo)
        self._save()
        self._assign_roles()
        if not changed:
            message = sentences.drained_before(service, node, undo=undo)
            return DrainResult(service=service, node=node, draining=not undo, message=message)
        outcome = sentences.drained(
            service,
            undo=undo,
            broker_error=self._broker_error(),
            online=self._nodes.online(node),
            pinned=self._intent.pins.get(service) == node,
        )
        self._done("undrain" if undo else "drain", service, node, outcome)
        message = sentences.answer(outcome, service, node)
        return DrainResult(service=service, node=node, draining=not undo, message=message)

    async def exclude(self, node: str) -> ExcludeResult:
        """Send nothing to a node, and take no report of its. Raises CommandError."""
        released = self._intent.exclude(node)
        if released is None:
            message = sentences.excluded_before(node, undo=False)
            return ExcludeResult(node=node, excluded=True, released=[], message=message)
        self._save()
        pending = await self._apply()
        outcome = sentences.excluded(released, self._intent.left_alone(), pending)
        self._done("exclude", "all", node, outcome)
        return ExcludeResult(node=node, excluded=True, released=released, message=f"{node}: {outcome}")

    async def include(self, node: str) -> ExcludeResult:
        """Let a node serve again. Raises CommandError."""
        if not self._intent.include(node):
            message = sentences.excluded_before(node, undo=True)
            return ExcludeResult(node=node, excluded=False, released=[], message=message)
        self._save()
        outcome = sentences.included(await self._apply())
        self._done("include", "all", node, outcome)
        return ExcludeResult(node=node, excluded=False, released=[], message=f"{node}: {outcome}")

    def logs_on(self, component: str, node: str | None) -> tuple[str, list[str]]:
        """The component that is named, perhaps by a service of its, and the nodes whose log of it can be read.

        Raises CommandError.
        """
        fabric = self._intent.fabric
        if (problem := self._broker_error()) is not None:
            raise CommandError(f"the broker is not connected ({problem}): no log can be read")
        if component in fabric.services and not self._known(component):
            component = fabric.services[component].component
        if node is not None and node in fabric.nodes:
            targets = [node]  # also one where it has not come up, or was taken away
        else:
            meant = {one for spec in fabric.services.values() if spec.component == component for one in spec.instances}
            known = set(self._known(component))
            targets = [one for one in fabric.nodes if one in meant | known] or self._having(component, node)
        if not any(self._nodes.online(one) for one in targets):
            raise CommandError(f"{', '.join(targets)}: offline; no log of {component} can be read")
        return component, targets

    async def log_piece(self, component: str, node: str, asked: LogsAsked) -> LogsTold:
        """A piece of a component's log; where there is none, `problem` says why."""
        return await self._nodes.logs(node, component, asked)

    def _known(self, component: str) -> list[str]:
        """The nodes that say they have a component."""
        return [name for name in self._intent.fabric.nodes if component in self._nodes.view(name).components]

    async def restart(self, component: str, node: str | None) -> RestartResult:
        """Launch a component anew on a node, or on all that have it one after the other. Raises CommandError."""
        targets = self._having(component, node)
        if (problem := self._broker_error()) is not None:
            raise CommandError(f"the broker is not connected ({problem}); {component} stays as it is")
        offline = [one for one in targets if not self._nodes.online(one)]
        if offline and (node is not None or offline == targets):
            raise CommandError(f"{', '.join(offline)}: offline; {component} stays as it is")
        done: list[str] = []
        error = None
        for target in targets:
            if target in offline:
                continue
            # One at a time, and not on after a failure: the others go on serving.
            if (reason := await self._nodes.restart(target, component)) is not None:
                error = f"not on {target}: {reason}"
                break
            done.append(target)
        if error is None and offline:
            error = f"not on {', '.join(offline)}: offline"
        outcome = sentences.restarted(done, error)
        self._done("restart", component, node, outcome)
        return RestartResult(component=component, nodes=done, error=error, message=f"{component}: {outcome}")

    def _having(self, component: str, node: str | None) -> list[str]:
        """The nodes that have a component, or the one of them that is meant. Raises CommandError."""
        components = {name: self._nodes.view(name).components for name in self._intent.fabric.nodes}
        if node is not None and node not in components:
            raise CommandError(f"no node {node} in fabric {self._intent.fabric.name}; nodes: {', '.join(components)}")
        having = [name for name, known in components.items() if component in known]
        if not having:
            known = ", ".join(sorted({name for one in components.values() for name in one})) or "none"
            raise CommandError(f"no node has a component {component}; components: {known}")
        if node is not None and node not in having:
            raise CommandError(f"{node} has no component {component}; it is on: {', '.join(having)}")
        return having if node is None else [node]

    async def rotate_keys(self, service: str | None) -> RotateKeysResult:
        """Give the instances of a service, or of all, new keys for their reports. Raises CommandError."""
        bindings = [one for one in self._keys.ring.on_switches if service in (None, one[0])]
        if service is not None:
            self._intent.service(service)
        if not bindings:
            raise CommandError("reports are not authenticated here: set reports.authentication in the fabric file")
        try:
            begun = self._keys.rotate(bindings)
        except StateError as error:
            raise CommandError(f"{error}; the keys stay as they are") from error
        outcome = sentences.keys_rotated(len(begun), len(bindings))
        self._done("rotate-keys", service or "all", None, outcome)
        return RotateKeysResult(service=service, instances=begun, message=sentences.answer(outcome, service))

    async def run(self) -> None:
        """Release every migrated service when its dwell is over, until cancelled."""
        while True:
            self._pinned.clear()
            due = self._intent.next_expiry()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._pinned.wait()
            except TimeoutError:
                expired = self._intent.expire(time.monotonic())
                outcome = sentences.released(await self._apply(), dwell_over=True)
                for service in expired:
                    self._done("release", service, None, outcome)

    async def watch_pins(self) -> None:
        """Tell when an instance that a service is pinned to cannot serve, and when it can again, until cancelled."""
        told: dict[tuple[str, str], str] = {}
        while True:
            pins = set(self._intent.pins.items())
            instances = self._steering.instances
            for key in told.keys() - pins:
                del told[key]
            for service, node in sorted(pins):
                reason = self._unfit(service, node, instances.get((service, node)))
                # Only the kind of reason: an age that grows is no news.
                before, kind = told.get((service, node)), reason.partition(":")[0] if reason is not None else None
                if kind == before:
                    continue
                if kind is None:
                    del told[service, node]
                else:
                    told[service, node] = kind
                self._record(PinEvent(service=service, node=node, reason=reason))
            await asyncio.sleep(PINS_LOOKED_AT_S)

    def _unfit(self, service: str, node: str, instance: InstanceView | None) -> str | None:
        spec, view = self._intent.fabric.services[service], self._nodes.view(node)
        return unfit(
            instance,
            spec.dead_after_ms * US_PER_MS,
            view.components.get(spec.component),
            view.details.get(spec.component),
            self._steering.doubts.get((service, node)),
        )

    async def _apply(self) -> str | None:
        """Put the operator's pins and exclusions into effect; returns why they are not in effect yet."""
        async with self._applying:
            self._pinned.set()
            try:
                await self._steering.override(self._intent.pins, self._intent.excluded)
            except SteeringError as error:
                return str(error)
            finally:
                self._assign_roles()
        return None

    def _done(self, command: str, service: str, node: str | None, outcome: str) -> None:
        self._record(CommandEvent(command=command, service=service, node=node, outcome=outcome))
