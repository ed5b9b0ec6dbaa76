"""One fabric's controller: wires steering, nodes, keys and the operator's commands to one another and to the broker."""

import asyncio
import logging
import time

from controller.authority.watch import CertificateWatch
from controller.fabric.schema import Fabric
from controller.keys.files import KeyFile
from controller.keys.ring import KeyRing
from controller.keys.rotation import KeyKeeper
from controller.nodes import deployments, shadows
from controller.nodes.components import Library
from controller.nodes.link import SUBSCRIPTIONS, NodeLink
from controller.nodes.view import ClockUpdate, KeyUpdate, PresenceUpdate
from controller.observe.events import WarningEvent
from controller.observe.log import EventLog
from controller.operator.commands import Commands
from controller.operator.documents import Status
from controller.operator.overrides import OperatorIntent
from controller.operator.status import View, status
from controller.state import State, StateFile
from controller.steering.endpoints import EndpointTable
from controller.steering.interface import Steering, SteeringContext
from hitless.files import StateError
from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import EndpointAck, EndpointUpdate, MessageError, Metrics
from hitless.mqtt.session import Session

log = logging.getLogger(__name__)


class Controller:
    """The parts of a controller. What is said to the nodes and clients is said again whenever the broker is back."""

    def __init__(
        self,
        fabric: Fabric,
        strategy: type[Steering],
        components: Library,
        broker: BrokerSettings,
        state_file: StateFile,
        key_file: KeyFile,
        events: EventLog,
        certificates: CertificateWatch,
    ) -> None:
        """Reads the state and begins a new term. Raises StateError, and SwitchError without a compiled program."""
        self._fabric = fabric
        self._components = components
        self._events = events
        self._certificates = certificates
        self._state_file = state_file
        state = state_file.load()
        self._endpoints = EndpointTable(term=state.term + 1)
        self._intent, gone = OperatorIntent.restored(fabric, state.holds, state.drains, state.excluded)
        for problem in gone:
            log.warning("%s", problem)
        state_file.save(self._state())
        # Whoever steers: a switch that only routes goes on hearing the reports, and can steer again at once.
        ring = KeyRing.of(fabric, key_file.load())
        self.steering = strategy(
            SteeringContext(
                fabric=fabric,
                pins=self._intent.pins,
                keys=ring.on_switches,
                excluded=frozenset(self._intent.excluded),
                room=deployments.room(fabric, components),
                endpoints=self._endpoints,
                publish=self._publish_endpoint,
                broker_error=self._broker_error,
                record=events.add,
                moved=self._moved,
            )
        )
        # Endpoints first: what an earlier controller decided must be known before anything is decided anew.
        first = (topics.ENDPOINT.filter(), topics.CLIENT_ACK.filter())
        self._bus = Session(
            broker,
            without_broker="switches and nodes go on without it",
            subscriptions=(*first, *SUBSCRIPTIONS, *self.steering.subscriptions),
            on_connected=self._bus_connected,
            on_message=self._message,
        )
        self._nodes = NodeLink(fabric, self._endpoints.term, events.add, self._bus.publish)
        self._keys = KeyKeeper(ring, key_file, self.steering.set_keys, self._assign_roles)
        self.commands = Commands(
            self._intent,
            self.steering,
            self._keys,
            self._nodes,
            broker_error=self._broker_error,
            record=events.add,
            save=self._save,
            assign_roles=self._assign_roles,
        )
        self._moved()

    async def run(self) -> None:
        """Work until cancelled. No part's failure to reach its peer ends another part."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.steering.run())
                tasks.create_task(self._bus.run())
                tasks.create_task(self.commands.run())
                tasks.create_task(self.commands.watch_pins())
                tasks.create_task(self._keys.run())
                tasks.create_task(self._certificates.run(self._warn))
        finally:
            self._nodes.close()

    async def status(self) -> Status:
        """What there is and how it is now: asks the switches, and waits for nobody who does not answer."""
        observed = await self.steering.observe()
        return status(
            View(
                fabric=self._fabric,
                mode=self.steering.mode,
                switches=self.steering.switches,
                broker_error=self._broker_error(),
                nodes={node: self._nodes.view(node) for node in self._fabric.nodes},
                observed=observed,
                overrides=self._intent.overrides,
                drains=self._intent.drains,
                excluded=self._intent.excluded,
                doubts=self.steering.doubts,
                now=time.monotonic(),
                last_event=self._events.last,
                versions={name: self._components[name].recipe.version for name in self._components},
                warnings=self._certificates.warnings(time.time()),
            )
        )

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        self._events.add(WarningEvent(what=text))

    def _moved(self) -> None:
        """Have every node run its components, know where the services are that they call, and know its roles."""
        self._nodes.deploy(deployments.documents(self._fabric, self._components, self.steering.upstream_hosts))
        self._assign_roles()

    def _assign_roles(self) -> None:
        """Have every instance know whether it is the host, whether it drains, and the key of its reports."""
        intent, keys = self._intent, self._keys.ring.at_nodes
        self._nodes.assign_roles(
            shadows.wanted(self._fabric, self.steering.hosts, intent.pins, intent.drains, keys),
            {(node, self._fabric.services[service].component): key for (service, node), key in keys.items()},
        )

    def _broker_error(self) -> str | None:
        """Why the broker is not connected; None if it is."""
        return None if self._bus.connected else self._bus.error or "the connection was lost"

    def _bus_connected(self) -> None:
        self._nodes.bus_connected()
        self._publish_endpoints()

    def _publish_endpoints(self) -> None:
        for service, update in self._endpoints.current.items():
            self._publish_endpoint(service, update)

    def _publish_endpoint(self, service: str, update: EndpointUpdate) -> None:
        self._bus.publish(Publication(topics.ENDPOINT.of(service=service), update.encode(), retain=True))

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if levels := topics.METRICS.match(topic):
                self.steering.metrics(levels["service"], levels["node"], Metrics.decode(payload))
            elif levels := topics.ENDPOINT.match(topic):
                self._heard_endpoint(levels["service"], EndpointUpdate.decode(payload))
            elif levels := topics.CLIENT_ACK.match(topic):
                ack = EndpointAck.decode(payload)
                log.info("client %s uses endpoint %d.%d of %s", levels["client"], ack.term, ack.version, ack.service)
            else:
                self._heard_node(topic, payload, retained)
        except MessageError as error:
            log.warning("%s: %s", topic, error)

    def _heard_node(self, topic: str, payload: bytes, retained: bool) -> None:
        match self._nodes.message(topic, payload, retained):
            case PresenceUpdate() as update:
                self.steering.presence(update.node, update.online)
            case ClockUpdate() as update:
                # What the broker kept was said at some time before.
                ahead = None if retained else update.time - time.time()
                self._certificates.heard(update.node, update.certificate_expires, ahead)
            case KeyUpdate() as update:
                for name, service in self._fabric.services.items():
                    if service.component == update.component and update.node in service.instances:
                        self._keys.confirmed(name, update.node, update.key_id)

    def _heard_endpoint(self, service: str, update: EndpointUpdate) -> None:
        """An endpoint that the broker holds: an echo of ours, or what an earlier controller left behind."""
        if self._endpoints.is_own(service, update):
            return
        self.steering.adopt(service, update.address)
        if self._endpoints.advance_term(update):
            log.warning("the broker holds endpoints of term %d: going on with %d", update.term, self._endpoints.term)
            self._save()
            self._publish_endpoints()

    def _state(self) -> State:
        return State(self._endpoints.term, self._intent.holds, self._intent.drains, self._intent.excluded)

    def _save(self) -> None:
        try:
            self._state_file.save(self._state())
        except StateError as error:
            log.error("%s (a controller started after this one will not know of this command)", error)
