"""The shape of the fabric file: what may stand where, its units and defaults."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
"""Where all service addresses and the report address live."""
MEMBERS = 64
"""Instances a service can have: leaves of its tree on the switch."""
MAX_PORT = 509
"""The last port of a switch that a host can sit on; 510 is the CPU port and 511 drops."""
OFF = 31
"""The shift that turns a metric off."""


def _address(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", value):
        raise ValueError("expected an IPv4 address such as 10.0.0.1")
    try:
        return IPv4Address(value)
    except ValueError as error:
        raise ValueError("expected an IPv4 address such as 10.0.0.1") from error


def _mac(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", value):
        raise ValueError('expected a MAC address such as "02:00:00:00:00:01"')
    if int(value[:2], 16) & 1:
        raise ValueError("expected the MAC address of one interface (its first octet is even), not of a group")
    return value.lower()


def _shift(value: object) -> object:
    # YAML 1.2 reads `off` as text, YAML 1.1 as false: both are what a person means by it.
    return OFF if value is False or value == "off" else value


def _left_shift(value: object) -> object:
    shift = _shift(value)
    if shift != OFF and not (type(shift) is int and 0 <= shift <= 16):
        raise ValueError("expected a left shift from 0 to 16, or off")
    return shift


def _right_shift(value: object) -> object:
    shift = _shift(value)
    if shift != OFF and not (type(shift) is int and 0 <= shift <= 16):
        raise ValueError("expected a right shift from 0 to 16, or off")
    return shift


def _off(value: object) -> object:
    return "off" if value is False else value


def _endpoint(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[^:\s]+:\d{1,5}|unix:/\S+", value):
        raise ValueError("expected host:port such as 192.168.255.1:9559, or unix:/path/of/a/socket")
    return value


Address = Annotated[IPv4Address, BeforeValidator(_address)]
Mac = Annotated[str, BeforeValidator(_mac)]
LeftShift = Annotated[int, BeforeValidator(_left_shift)]
RightShift = Annotated[int, BeforeValidator(_right_shift)]
Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
Id = Annotated[int, Field(ge=1, le=65535)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]


class Part(BaseModel):
    """A mapping of the fabric file: exact types, no unknown fields, not changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reports(Part):
    """Where nodes send their reports, and how often."""

    address: Address = IPv4Address("10.96.255.254")
    port: TcpPort = 9600
    interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 10
    authentication: Annotated[Literal["off", "accepted", "required"], BeforeValidator(_off)] = "off"
    """off: no keys. accepted: nodes have keys and tag their reports, switches take any. required: only with the tag."""


class Gateway(Part):
    """A switch's own address in its hosts' subnet; services answer with this MAC too."""

    address: Address
    mac: Mac


class Broker(Part):
    """The MQTT broker, and a JSON file {username, password} of the controller's identity there."""

    host: str
    port: TcpPort = 1883
    credentials: str | None = None
    """Relative to the fabric file."""


class HttpServer(Part):
    """Where something is served over HTTP."""

    host: str
    port: TcpPort


class SwitchSpec(Part):
    """A P4Runtime target."""

    device_id: Annotated[int, Field(ge=0, le=2**64 - 1)] = 1
    p4runtime: Annotated[str, BeforeValidator(_endpoint)]
    gateway: Gateway | None = None
    """Its own gateway; without one, the fabric's. Needed once there are several switches."""


class LinkEnd(Part):
    """Where a link between switches is plugged in."""

    switch: str
    port: Port
    mac: Mac


class Link(Part):
    """A link between two switches, both ways."""

    one: Annotated[LinkEnd, Field(alias="from")]
    other: Annotated[LinkEnd, Field(alias="to")]
    mtu: Annotated[int, Field(ge=576, le=65535)] = 1500
    """Longest IPv4 packet that it carries, in bytes."""

    @property
    def ends(self) -> tuple[LinkEnd, LinkEnd]:
        """Both ends."""
        return self.one, self.other


class Host(Part):
    """Something with an address behind a port of a switch."""

    switch: str
    port: Port
    address: Address
    mac: Mac


class Node(Part):
    """A host that runs the agent; `path_cost` is added to the load of every instance on it."""

    node_id: Id
    path_cost: Annotated[int, Field(ge=0, le=65535)] = 0


class Single(Part):
    """One host at a time; it moves when another instance is better by `margin` and the last move is `dwell_ms` old."""

    margin: Annotated[int, Field(ge=0, le=65535)] = 400
    dwell_ms: Milliseconds = 3000


class Spread(Part):
    """Every request or flow goes where it can start first; `load_penalty` shifts the load into the start time (µs)."""

    load_penalty: LeftShift = OFF


class Pinned(Part):
    """Always this node while it lives."""

    node: str


class TwoChoices(Part):
    """The better of two instances drawn at random."""


class RoundRobin(Part):
    """The next eligible instance in turn."""


class Random(Part):
    """An eligible instance drawn at random."""


Choice = Single | Spread | Pinned | TwoChoices | RoundRobin | Random
"""How instances are chosen."""


class Policy(Part):
    """How instances are chosen: exactly one of these."""

    single: Single | None = None
    spread: Spread | None = None
    pinned: Pinned | None = None
    two_choices: TwoChoices | None = None
    round_robin: RoundRobin | None = None
    random: Random | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self._given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(type(self).model_fields)}, "
                "such as `single: {margin: 400, dwell_ms: 3000}`"
            )
        return self

    @property
    def _given(self) -> list[Choice]:
        choices = (self.single, self.spread, self.pinned, self.two_choices, self.round_robin, self.random)
        return [choice for choice in choices if choice is not None]

    @property
    def chosen(self) -> Choice:
        """The one that is given."""
        return self._given[0]

    @property
    def name(self) -> str:
        """Its name in the file."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def one_host(self) -> bool:
        """Whether one instance at a time serves all new work."""
        return isinstance(self.chosen, Single | Pinned)


class Score(Part):
    """How metrics add up to the load: left shifts, and a right shift for the service interval; `off` leaves one out."""

    cpu: LeftShift = 0
    memory: LeftShift = OFF
    queue: LeftShift = OFF
    busy_after: Annotated[int, Field(ge=0, le=65535)] = 0
    """Queue depth that does not count yet."""
    interval: RightShift = OFF


class Fallback(Part):
    """Where requests go when no instance lives."""

    fallback: Address


class Instance(Part):
    """A service on a node: its leaf in the tree, and which incarnation of that leaf it is."""

    member: Annotated[int, Field(ge=0, lt=MEMBERS)]
    generation: Annotated[int, Field(ge=1, le=255)] = 1


def _on_no_live(value: object) -> object:
    if value in ("last", "drop") or isinstance(value, dict):
        return value
    raise ValueError("expected last, drop or {fallback: <address of a host>}")


class Service(Part):
    """A function's public face, and how the switch steers its requests."""

    service_id: Id
    index: Annotated[int, Field(ge=0, le=255)]
    """Its index on the switches; never reused for another service."""
    address: Address
    port: TcpPort
    protocol: Literal["udp", "tcp"]
    affinity: Literal["none", "flow", "request"] = "flow"
    component: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=128)]
    policy: Policy = Policy(single=Single())
    score: Score = Score()
    stale_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 200
    dead_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 2000
    idle_after_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 60_000
    on_no_live: Annotated[Literal["last", "drop"] | Fallback, BeforeValidator(_on_no_live)] = "last"
    steered_by: str | None = None
    """The one switch that chooses. Without it: the fabric's first for `single`, else each for its own clients."""
    instances: Annotated[dict[str, Instance], Field(min_length=1)]
    """By node."""

    def node_of(self, member: int) -> str | None:
        """The node whose instance has this member slot."""
        return next((node for node, instance in self.instances.items() if instance.member == member), None)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class Fabric(Part):
    """The whole fabric file."""

    name: Annotated[Name, Field(alias="fabric")]
    reports: Reports = Reports()
    gateway: Gateway
    broker: Broker
    repository: HttpServer
    metrics: HttpServer = HttpServer(host="127.0.0.1", port=9464)
    switches: Annotated[dict[Name, SwitchSpec], Field(min_length=1)]
    links: list[Link] = []
    hosts: Annotated[dict[Name, Host], Field(min_length=1)]
    nodes: dict[Name, Node]
    services: dict[Name, Service]

    def hosts_on(self, switch: str) -> Iterator[tuple[str, Host]]:
        """The hosts behind a switch, by name."""
        return ((name, host) for name, host in self.hosts.items() if host.switch == switch)

    def gateway_of(self, switch: str) -> Gateway:
        """A switch's own address and MAC."""
        return self.switches[switch].gateway or self.gateway

    def gateway_for(self, host: str) -> Gateway:
        """The default route of a host."""
        return self.gateway_of(self.hosts[host].switch)

    def steering_switches(self, service: str) -> tuple[str, ...]:
        """The switches that choose instances for new work of a service."""
        spec = self.services[service]
        if spec.steered_by is not None:
            return (spec.steered_by,)
        every = tuple(self.switches)
        return every[:1] if isinstance(spec.policy.chosen, Single) else every

    def services_on(self, switch: str) -> Iterator[tuple[str, Service]]:
        """The services that a switch steers."""
        return ((name, service) for name, service in self.services.items() if switch in self.steering_switches(name))

    def service_at(self, index: int) -> str | None:
        """The name of the service with this index on the switches."""
        return next((name for name, service in self.services.items() if service.index == index), None)

    def node_with_id(self, node_id: int) -> str | None:
        """The name of the node with this id."""
        return next((name for name, node in self.nodes.items() if node.node_id == node_id), None)
