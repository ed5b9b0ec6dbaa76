"""One fabric's controller: keeps steering, nodes and the operator's commands in step."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from controller.fabric.file import Fabric
from controller.keys.ring import Binding, BindingKeys, KeyRing
from controller.keys.rotation import KeyKeeper
from controller.nodes import deployments
from controller.nodes import shadows as roles
from controller.nodes.bus import Broker, Bus, Publication
from controller.nodes.components import Component
from controller.nodes.link import SUBSCRIPTIONS, Nodes
from controller.observe.events import EventLog
from controller.observe.prometheus import FabricCollector
from controller.operator import documents as overview
from controller.operator.overrides import CommandError, Commands
from controller.state import KeyFile, State, StateError, StateFile
from controller.steering.decisions import Decision
from controller.steering.endpoints import Endpoints
from controller.steering.in_network import SwitchSteering
from controller.steering.interface import Mode, Steering, SteeringError
from controller.steering.reconfiguration import MetricSteering
from controller.switches.entries import Overrides
from hitless.mqtt import topics
from hitless.mqtt.messages import EndpointAck, EndpointUpdate, MessageError, Metrics

log = logging.getLogger(__name__)

Document = dict[str, Any]


class Controller:
    """The parts, and what the API asks of them."""

    def __init__(
        self,
        fabric: Fabric,
        mode: Mode,
        components: dict[str, Component],
        broker: Broker,
        state_file: StateFile,
        key_file: KeyFile,
        events: EventLog,
    ) -> None:
        """Reads the state and begins a new term. Raises StateError, and SwitchError without a compiled program."""
        self.fabric = fabric
        self.mode = mode
        self.events = events
        self._components = components
        self._state_file = state_file
        state = state_file.load()
        self._endpoints = Endpoints(term=state.term + 1)
        self._commands, gone = Commands.restored(fabric, state.holds, state.drains)
        for problem in gone:
            log.warning("%s", problem)
        state_file.save(self._state())
        self._commanded = asyncio.Event()
        self._applying = asyncio.Lock()
        self._metric_steering: MetricSteering | None = None
        self._switch_steering: SwitchSteering | None = None
        # Endpoints first: what an earlier controller decided must be known before anything is decided anew.
        subscriptions = (topics.ENDPOINT.filter(), topics.CLIENT_ACK.filter(), *SUBSCRIPTIONS)
        if mode == "reconfiguration":
            subscriptions += (topics.METRICS.filter(),)
        self._bus = Bus(broker, subscriptions, on_connected=self._bus_connected, on_message=self._message)
        self._nodes = Nodes(fabric, self._endpoints.term, events, self._bus.publish, self._presence, self._tagged)
        ring = KeyRing() if mode == "reconfiguration" else KeyRing.of(fabric, key_file.load())
        self._keys = KeyKeeper(ring, key_file, self._write_keys, self._play)
        self._steering: Steering
        if mode == "reconfiguration":
            self._metric_steering = MetricSteering(fabric, self._commands.pins, self._bus, self._decided)
            self._steering = self._metric_steering
        else:
            overrides = Overrides(self._commands.pins, ring.on_switches)
            self._switch_steering = SwitchSteering(fabric, events, overrides, self._play)
            self._steering = self._switch_steering
            for name, service in fabric.services.items():
                self._endpoints.set(name, str(service.address), service.port, "switches steer")
        self._deploy()
        self._play()

    def collector(self) -> FabricCollector:
        """What Prometheus reads of this controller."""
        steering = self._steering
        if self._metric_steering is None:
            return FabricCollector(self.mode, lambda: steering.hosts, lambda: steering.switches)
        own = self._metric_steering
        return FabricCollector(self.mode, lambda: own.hosts, instances=own.views, migrations=lambda: own.migrations)

    async def run(self) -> None:
        """Work until cancelled. No part's failure to reach its peer ends another part."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._steering.run())
            tasks.create_task(self._bus.run())
            tasks.create_task(self._let_go())
            tasks.create_task(self._keys.run())

    async def status(self) -> Document:
        """What there is and how it is now: asks the switches, and waits for nobody who does not answer."""
        seen = await self._steering.look()
        return overview.document(
            overview.View(
                fabric=self.fabric,
                mode=self.mode,
                switches=self._steering.switches,
                broker_error=self._bus.error,
                nodes={node: self._nodes.view(node) for node in self.fabric.nodes},
                hosts=seen.hosts,
                instances=seen.instances,
                overrides=self._commands.overrides,
                drains=self._commands.drains,
                now=time.monotonic(),
                last_event=self.events.last,
            )
        )

    async def migrate(self, service: str, node: str, *, hold: bool) -> Document:
        """Make a node the host of a service's new work. Raises CommandError; then nothing has changed."""
        self._commands.check(service, node)
        before = self._steering.hosts.get(service)
        try:
            self._steering.check(service)
        except SteeringError as error:
            raise CommandError(f"{error}; {service} stays as it is") from error
        override = self._commands.migrate(service, node, hold=hold, now=time.monotonic())
        self._save()
        problem = await self._apply()
        kept = "until released" if hold else f"for {override.dwell_s:g} s"
        outcome = f"to {node}, kept there {kept} (host was {before or 'unknown'})"
        return self._did("migrate", service, node, outcome + problem, held=hold)

    async def release(self, service: str) -> Document:
        """Let go of a service. Raises CommandError."""
        if not self._commands.release(service):
            return {"service": service, "released": False, "message": f"{service} was not held"}
        self._save()
        problem = await self._apply()
        return self._did("release", service, None, f"let go{problem}", released=True)

    async def drain(self, service: str, node: str, *, undo: bool) -> Document:
        """Let an instance take no new work, or take it again. Raises CommandError."""
        changed = self._commands.drain(service, node, undo=undo)
        self._save()
        self._play()
        if not changed:
            state = "does not drain" if undo else "drains already"
            return {"service": service, "node": node, "draining": not undo, "message": f"{service} on {node} {state}"}
        outcome = "takes new work again" if undo else "takes no new work"
        if not self._bus.connected:
            outcome += f", as soon as the broker is back ({self._bus.error})"
        elif not self._nodes.online(node):
            outcome += ", as soon as the node is online"
        if not undo and self._commands.pins.get(service) == node:
            outcome += f"; but it is pinned there, which comes first: hitless release {service}"
        return self._did("drain" if not undo else "undrain", service, node, outcome, draining=not undo)

    async def rotate_keys(self, service: str | None) -> Document:
        """Give the instances of a service, or of all, new keys for their reports. Raises CommandError."""
        bindings = [one for one in self._keys.ring.on_switches if service in (None, one[0])]
        if service is not None:
            self._commands.service(service)
        if not bindings:
            raise CommandError("reports are not authenticated here: set reports.authentication in the fabric file")
        try:
            begun = self._keys.rotate(bindings)
        except StateError as error:
            raise CommandError(f"{error}; the keys stay as they are") from error
        outcome = f"new keys for {len(begun)} instances"
        if len(begun) < len(bindings):
            outcome += f"; {len(bindings) - len(begun)} still wait for their node or a switch"
        self.events.add("command", command="rotate-keys", service=service or "all", node=None, outcome=outcome)
        return {"service": service, "instances": begun, "message": f"{service or 'all services'}: {outcome}"}

    def _did(self, command: str, service: str, node: str | None, outcome: str, **fields: object) -> Document:
        self.events.add("command", command=command, service=service, node=node, outcome=outcome)
        target = f"{service} on {node}" if node and command != "migrate" else service
        return {"service": service, "node": node, **fields, "message": f"{target}: {outcome}"}

    async def _apply(self) -> str:
        """Put the operator's pins into effect; returns what to add to the answer."""
        async with self._applying:
            self._commanded.set()
            try:
                await self._steering.pin(self._commands.pins)
            except SteeringError as error:
                return f", as soon as it is back: {error}"
            finally:
                self._play()
        return ""

    async def _let_go(self) -> None:
        """Release every migrated service when its dwell is over."""
        while True:
            self._commanded.clear()
            due = self._commands.next_expiry()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._commanded.wait()
            except TimeoutError:
                expired = self._commands.expire(time.monotonic())
                problem = await self._apply()
                for service in expired:
                    self._did("release", service, None, f"dwell over, let go{problem}")

    def _decided(self, decisions: list[Decision]) -> None:
        """Where no switch steers: tell clients, callers and gateways of new hosts."""
        for decision in decisions:
            port = self.fabric.services[decision.service].port
            address = str(self.fabric.hosts[decision.host].address)
            reason = f"{decision.reason.name}: {decision.before or 'nobody'} -> {decision.host}"
            update = self._endpoints.set(decision.service, address, port, reason)
            self._publish_endpoint(decision.service, update)
            self.events.add(
                "endpoint",
                **{"from": decision.before},
                service=decision.service,
                reason=decision.reason.name,
                to=decision.host,
                from_rank=decision.before_rank,
                to_rank=decision.rank,
                node=decision.node,
                epoch=decision.epoch,
                sequence=decision.sequence,
                **update.model_dump(exclude={"reason"}),
            )
        self._deploy()
        self._play()

    def _deploy(self) -> None:
        """Have every node run its components, and know where the services are that they call."""
        hosts = self._steering.hosts if self._metric_steering is not None else None
        self._nodes.deploy(deployments.documents(self.fabric, self._components, hosts))

    def _play(self) -> None:
        """Have every instance know whether it is the host and whether it drains."""
        commands, keys = self._commands, self._keys.ring.at_nodes
        self._nodes.play(
            roles.wanted(self.fabric, self._steering.hosts, commands.pins, commands.drains, keys),
            {(node, self.fabric.services[service].component): key for (service, node), key in keys.items()},
        )

    async def _write_keys(self, keys: Mapping[Binding, BindingKeys]) -> None:
        if self._switch_steering is not None:
            await self._switch_steering.key(keys)

    def _tagged(self, node: str, component: str, key_id: int | None) -> None:
        """A node tells which key an instance tags its reports with."""
        for name, service in self.fabric.services.items():
            if service.component == component and node in service.instances:
                self._keys.confirmed(name, node, key_id)

    def _presence(self, node: str, online: bool) -> None:
        if self._metric_steering is not None:
            self._metric_steering.presence(node, online)

    def _publish_endpoint(self, service: str, update: EndpointUpdate) -> None:
        self._bus.publish(Publication(topics.ENDPOINT.of(service=service), update.encode(), retain=True))

    def _publish_endpoints(self) -> None:
        for service, update in self._endpoints.current.items():
            self._publish_endpoint(service, update)

    def _bus_connected(self) -> None:
        self._nodes.bus_connected()
        self._publish_endpoints()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if levels := topics.METRICS.match(topic):
                if self._metric_steering is not None:
                    self._metric_steering.metrics(levels["service"], levels["node"], Metrics.decode(payload))
            elif levels := topics.ENDPOINT.match(topic):
                self._heard_endpoint(levels["service"], EndpointUpdate.decode(payload))
            elif levels := topics.CLIENT_ACK.match(topic):
                ack = EndpointAck.decode(payload)
                log.info("client %s uses endpoint %d.%d of %s", levels["client"], ack.term, ack.version, ack.service)
            else:
                self._nodes.message(topic, payload, retained)
        except MessageError as error:
            log.warning("%s: %s", topic, error)

    def _heard_endpoint(self, service: str, update: EndpointUpdate) -> None:
        """An endpoint that the broker holds: an echo of ours, or what an earlier controller left behind."""
        if self._endpoints.is_own(service, update):
            return
        if self._metric_steering is not None:
            for node, host in self.fabric.hosts.items():
                if str(host.address) == update.address:
                    self._metric_steering.adopt(service, node)
            self._deploy()
        if self._endpoints.outrun(update):
            log.warning("the broker holds endpoints of term %d: going on with %d", update.term, self._endpoints.term)
            self._save()
            self._publish_endpoints()

    def _state(self) -> State:
        return State(self._endpoints.term, self._commands.holds, self._commands.drains)

    def _save(self) -> None:
        try:
            self._state_file.save(self._state())
        except StateError as error:
            log.error("%s (a controller started after this one will not know of this command)", error)
