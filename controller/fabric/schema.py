"""The shape of the fabric file: what may stand where, its units and defaults."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from hitless.steering.policies import POLICIES, Pinned, Policy, Single
from hitless.steering.rank import Score
from hitless.steering.settings import Configuration
from hitless.steering.units import US_PER_MS
from hitless.steering.words import CPU_PORT, GENERATION_BITS, MEMBERS, SERVICES, Affinity, OnNoLive

SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
"""Where all service addresses and the report address live."""
MAX_PORT = CPU_PORT - 1
"""The last port of a switch that a host can sit on."""
_USUAL = Configuration()


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


def _off(value: object) -> object:
    return "off" if value is False else value


def _endpoint(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[^:\s]+:\d{1,5}|unix:/\S+", value):
        raise ValueError("expected host:port such as 192.168.255.1:9559, or unix:/path/of/a/socket")
    return value


Address = Annotated[IPv4Address, BeforeValidator(_address)]
Mac = Annotated[str, BeforeValidator(_mac)]
Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
TransportPort = Annotated[int, Field(ge=1, le=65535)]
Id = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class Part(BaseModel):
    """A mapping of the fabric file: exact types, no unknown fields, not changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reports(Part):
    """Where nodes send their reports, and how often."""

    address: Address = IPv4Address("10.96.255.254")
    port: TransportPort = 9600
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
    port: TransportPort = 1883
    credentials: str | None = None
    """Relative to the fabric file."""


class HttpServer(Part):
    """Where something is served over HTTP."""

    host: str
    port: TransportPort


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


class OnNode(Part):
    """Always this node while it lives; then the best."""

    name: ClassVar = Pinned.name
    one_host: ClassVar = Pinned.one_host
    elects: ClassVar = Pinned.elects

    node: str
    """One of `instances`."""


Choice = Policy | OnNode
"""How instances are chosen. A pin names a node here, which `Service.policy_with` turns into its member."""


class _PolicyForm(Part):
    """A policy as it is written: a mapping with its name as the only key."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(type(self).model_fields)}, "
                "such as `single: {margin: 400, dwell_ms: 3000}`"
            )
        return self

    @property
    def given(self) -> list[Choice]:
        return [choice for name in type(self).model_fields if (choice := getattr(self, name)) is not None]


POLICY_FORMS: dict[str, Any] = {policy.name: policy for policy in POLICIES} | {OnNode.name: OnNode}
"""What may stand in the file for each policy's name."""
_FORM_FIELDS: dict[str, Any] = {name: (form | None, None) for name, form in POLICY_FORMS.items()}
_Written = create_model("Policy", __base__=_PolicyForm, **_FORM_FIELDS)


class _OnePolicy:
    """Reads a policy in its written form."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda written: written.given[0], handler.generate_schema(_Written)
        )


class Fallback(Part):
    """Where requests go when no instance lives."""

    fallback: Address


class Instance(Part):
    """A service on a node: its leaf in the tree, and which incarnation of that leaf it is."""

    member: Annotated[int, Field(ge=0, lt=MEMBERS)]
    generation: Annotated[int, Field(ge=1, lt=1 << GENERATION_BITS)] = 1


def _affinity(value: object) -> object:
    names = [one.name.lower() for one in Affinity]
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"expected {', '.join(map(repr, names[:-1]))} or {names[-1]!r}")
    return Affinity[value.upper()]


def _on_no_live(value: object) -> object:
    if value in ("last", "drop"):
        return OnNoLive[str(value).upper()]
    if isinstance(value, dict):
        return value
    raise ValueError("expected last, drop or {fallback: <address of a host>}")


class Service(Part):
    """A function's public face, and how the switch steers its requests."""

    service_id: Id
    index: Annotated[int, Field(ge=0, lt=SERVICES)]
    """Its index on the switches; never reused for another service."""
    address: Address
    port: TransportPort
    protocol: Literal["udp", "tcp"]
    affinity: Annotated[Affinity, BeforeValidator(_affinity)] = _USUAL.affinity
    component: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=128)]
    policy: Annotated[Choice, _OnePolicy] = Single()
    score: Score = Score()
    stale_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = _USUAL.stale_after // US_PER_MS
    dead_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = _USUAL.dead_after // US_PER_MS
    idle_after_ms: Annotated[int, Field(ge=1, le=86_400_000)] = _USUAL.idle_after // US_PER_MS
    on_no_live: Annotated[OnNoLive | Fallback, BeforeValidator(_on_no_live)] = _USUAL.on_no_live
    steered_by: str | None = None
    """The one switch that chooses. Without it: the fabric's first for `single`, else each for its own clients."""
    instances: Annotated[dict[str, Instance], Field(min_length=1)]
    """By node."""

    def policy_with(self, pin: str | None) -> Policy:
        """The policy in the switch's terms; `pin` is the node that an operator wants as the host.

        Raises KeyError for a node without an instance.
        """
        node = self.policy.node if pin is None and isinstance(self.policy, OnNode) else pin
        if node is not None:
            return Pinned(self.instances[node].member)
        assert isinstance(self.policy, Policy)
        return self.policy

    def node_of(self, member: int) -> str | None:
        """The node whose instance has this member slot."""
        return next((node for node, instance in self.instances.items() if instance.member == member), None)


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
        return every[:1] if spec.policy.elects else every

    def services_on(self, switch: str) -> Iterator[tuple[str, Service]]:
        """The services that a switch steers."""
        return ((name, service) for name, service in self.services.items() if switch in self.steering_switches(name))

    def service_at(self, index: int) -> str | None:
        """The name of the service with this index on the switches."""
        return next((name for name, service in self.services.items() if service.index == index), None)

    def node_with_id(self, node_id: int) -> str | None:
        """The name of the node with this id."""
        return next((name for name, node in self.nodes.items() if node.node_id == node_id), None)
