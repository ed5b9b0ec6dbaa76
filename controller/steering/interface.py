"""What the controller asks of whoever steers new work: the switches, or itself by reconfiguration. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from controller.fabric.schema import Fabric
from controller.keys.ring import Binding, BindingKeys
from controller.observe.events import Event
from controller.steering.doubts import Doubt
from controller.steering.endpoints import EndpointTable
from controller.switches.view import SwitchState
from hitless.modes import Mode
from hitless.mqtt.messages import EndpointUpdate, Metrics
from hitless.wire.report import Report
from hitless.words import MemberStatus


class SteeringError(Exception):
    """Nobody can carry out what was asked now; the message says why."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as whoever steers it sees it: the switch by its probe, or the controller by MQTT metrics."""

    status: MemberStatus | None
    """None: nobody could be asked."""
    rank: int
    age_us: int | None
    """Since its last accepted report; None when there was none."""
    epoch: int
    sequence: int
    eligible: bool
    report: Report | None = None
    """What its rank is made of: its last accepted report, as far as it is remembered."""
    evidence: int = 0
    """For another host of its service than the present one, under `single`,"""
    lasted_us: int = 0
    """... and for how long there has been any."""


Instances = Mapping[tuple[str, str], InstanceView]
"""By (service, node)."""
Hosts = Mapping[str, str | None]
"""Service -> node that serves its new work; None while unknown, or where there is no single one."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Services as they are now, by whoever steers them."""

    hosts: Hosts
    instances: Instances
    """Those that cannot be asked are left out."""


@dataclass(frozen=True, slots=True)
class SteeringContext:
    """What whoever steers is given when it is made."""

    fabric: Fabric
    pins: Mapping[str, str]
    """Service -> node that the operator wants as its host."""
    keys: Mapping[Binding, BindingKeys]
    """What reports are authenticated with."""
    excluded: frozenset[str]
    """The nodes that are to get nothing."""
    room: Mapping[str, int]
    """By service: the most requests that an instance can hold, by its component's configuration."""
    endpoints: EndpointTable
    """What clients are told, kept by whoever steers and told anew whenever the broker is back."""
    publish: Callable[[str, EndpointUpdate], None]
    """Tells clients a service's endpoint now."""
    broker_error: Callable[[], str | None]
    """Why the broker is not connected; None if it is."""
    record: Callable[[Event], object]
    """Takes what happens into the event log."""
    moved: Callable[[], None]
    """To be called when the host of a service has changed, or has become known."""


class Steering(Protocol):
    """Chooses the instance for new work, one way or the other."""

    mode: ClassVar[Mode]
    at_node_addresses: ClassVar[bool]
    """Whether clients call services at their nodes' addresses; else at the services' own."""
    subscriptions: ClassVar[tuple[str, ...]]
    """The MQTT topics that it must hear, beside those that every controller hears."""

    def __init__(self, context: SteeringContext) -> None: ...

    @property
    def hosts(self) -> Hosts:
        """The hosts as far as they were told."""

    @property
    def upstream_hosts(self) -> Hosts | None:
        """The hosts that callers' configurations must point to; None where they hold the services' addresses."""

    @property
    def instances(self) -> Instances:
        """The instances as they were seen last, for who cannot wait."""

    @property
    def doubts(self) -> Mapping[tuple[str, str], Doubt]:
        """(service, node) -> why the claims of an instance are not relied on now."""

    @property
    def migrations(self) -> Mapping[tuple[str, str], int]:
        """(service, reason) -> how often its host changed from one node to another."""

    @property
    def switches(self) -> Mapping[str, SwitchState]:
        """The switches in use, by name."""

    async def observe(self) -> Observation:
        """See how every service is now."""

    def check(self, service: str) -> None:
        """Raises SteeringError when a pin of the service could not be carried out now."""

    async def override(self, pins: Mapping[str, str], excluded: Collection[str]) -> None:
        """Pin these services to these nodes, and no others; send nothing to the excluded nodes, take no word of theirs.

        Raises SteeringError when it must wait for somebody.
        """

    async def set_keys(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Accept reports with these keys. Raises KeysPendingError when it must wait for somebody."""

    def presence(self, node: str, online: bool) -> None:
        """A node has come to the broker, or gone from it."""

    def metrics(self, service: str, node: str, metrics: Metrics) -> None:
        """A node tells the metrics of its instance of a service."""

    def adopt(self, service: str, address: str) -> None:
        """An earlier controller has told clients that this is a service's endpoint."""

    async def run(self) -> None:
        """Work until cancelled."""
