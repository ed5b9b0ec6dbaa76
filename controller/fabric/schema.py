"""The shape of the fabric file: what may stand where, its units and defaults."""

from collections.abc import Iterator
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

from controller.fabric.values import (
    Address,
    ComponentName,
    Described,
    Id,
    Identity,
    Mac,
    Name,
    Port,
    TransportPort,
    endpoint,
)
from hitless.component.endpoint import ServiceProtocol
from hitless.component.triggers import Trigger
from hitless.steering.policies import POLICIES, Pinned, Policy, Single
from hitless.steering.rank import Score
from hitless.steering.settings import Configuration
from hitless.steering.units import US_PER_MS, Unit, Word
from hitless.words import (
    GENERATION_BITS,
    MEMBERS,
    REPORT_ADDRESS,
    REPORT_PORT,
    SERVICES,
    Affinity,
    OnNoLive,
)

_USUAL = Configuration()


def _off(value: object) -> object:
    return "off" if value is False else value


class Part(BaseModel):
    """A mapping of the fabric file: exact types, no unknown fields, not changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reports(Part):
    """Where nodes send their reports, and how often."""

    address: Address = REPORT_ADDRESS
    """Which the switches take themselves; in the network of the services."""
    port: TransportPort = REPORT_PORT
    """UDP."""
    interval_ms: Annotated[int, Field(ge=1, le=60_000), Unit("ms")] = 10
    """Between two reports of an instance that works or has changed."""
    idle_interval_ms: Annotated[int, Field(ge=1, le=60_000), Unit("ms")] = 50
    """Between two reports of an instance at rest, if it is longer than `interval_ms`."""
    authentication: Annotated[Literal["off", "accepted", "required"], BeforeValidator(_off)] = "off"
    """off: no keys. accepted: nodes have keys and tag their reports, switches take any. required: only with the tag."""
    claims: Literal["believed", "told", "bounded"] = "bounded"
    """What becomes of a node that claims what its switch does not see it do. believed: nothing is looked at. told: an
    event says so. bounded: the instance is a last resort for a while, too (security.md)."""


class Gateway(Part):
    """A switch's own address in its hosts' subnet; services answer with this MAC too."""

    address: Address
    """The default route of the hosts behind the switch; it answers ARP and ping."""
    mac: Mac
    """Of no host and no other switch. Frames for another are dropped: after a change, hosts are cut off until they ask
    again."""


class Broker(Part):
    """The MQTT broker."""

    host: str
    """Name or address, as the nodes reach it too."""
    port: TransportPort = 8883
    """TCP; by custom 8883 with TLS, and 1883 in clear."""
    credentials: str | None = None
    """A JSON file {"username": ..., "password": ...}: who the controller is at a broker that does not know it by its
    certificate. Relative to the fabric file."""


class Tls(Part):
    """Folders with `ca.crt`, `tls.crt` and `tls.key`: who the controller is to others, and which authorities it trusts.

    Relative to the fabric file. Without them what is said can be read and changed on its way."""

    bus: str | None = None
    """To the broker, the nodes that fetch from the repository, and the clients of the API: all three speak TLS."""
    switches: str | None = None
    """To the switches, which all serve P4Runtime with TLS, but for those behind a Unix socket."""


class HttpServer(Part):
    """Where something is served over HTTP."""

    host: str
    """Name or address."""
    port: TransportPort
    """TCP."""


class Api(Part):
    """The controller's API over the network, besides its socket: HTTPS at an address of the controller's machine.

    A caller is known by its certificate, or by a token (`hitless token`); its name has to stand in one of the roles."""

    host: str
    """Name or address, in the controller's certificate too."""
    port: TransportPort
    """TCP."""
    operate: list[Identity] = []
    """Names that may read and give commands."""
    read: list[Identity] = []
    """Names that may read the status and the events."""
    tokens: str | None = None
    """The file that `hitless token` writes. Relative to the fabric file; without it, only certificates count."""


class SwitchSpec(Part):
    """A P4Runtime target."""

    device_id: Annotated[int, Field(ge=0, le=2**64 - 1)] = 1
    """P4Runtime's number of the device."""
    p4runtime: Annotated[str, BeforeValidator(endpoint), Described("host:port, or unix:/path of a socket")]
    """Where it serves P4Runtime; each switch at an address of its own."""
    gateway: Gateway | None = None
    """Its own gateway; without one, the fabric's. Needed once there are several switches."""


class LinkEnd(Part):
    """Where a link between switches is plugged in."""

    switch: str
    """One of `switches`."""
    port: Port
    """Of the switch, with nothing else behind it."""
    mac: Mac
    """Of the switch's end."""


class Emulation(Part):
    """What an emulated link does to packets, in each direction.

    For networks that are laid out with softswitch; the controller takes a network as it is."""

    delay_ms: Annotated[float, Field(ge=0, le=60_000), Unit("ms")] = 0
    """How long a packet is on its way, one way."""
    jitter_ms: Annotated[float, Field(ge=0, le=60_000), Unit("ms")] = 0
    """By how much the delay varies at most, evenly in both ways; order is kept."""
    loss_percent: Annotated[float, Field(ge=0, le=100), Unit("%")] = 0
    """The share of packets that are lost."""
    reorder_percent: Annotated[float, Field(ge=0, le=100), Unit("%")] = 0
    """The share of packets that have no delay, and so overtake others."""
    rate_mbps: Annotated[float, Field(ge=0, le=1_000_000), Unit("Mbit/s")] = 0
    """Of whole frames; 0 is no limit. What waits for the link waits in the queue of its port, at most 64 packets."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.jitter_ms > self.delay_ms:
            raise ValueError(f"expected a jitter_ms of at most delay_ms, {self.delay_ms:g}")
        if self.reorder_percent and not self.delay_ms:
            raise ValueError("expected a delay_ms too: packets are reordered by one that they do not have")
        return self


class Link(Part):
    """A link between two switches, in both directions."""

    one: Annotated[LinkEnd, Field(alias="from")]
    """One end."""
    other: Annotated[LinkEnd, Field(alias="to")]
    """The other end, at another switch."""
    mtu: Annotated[int, Field(ge=576, le=65535), Unit("bytes")] = 1500
    """Longest IPv4 packet that it carries."""
    emulate: Emulation | None = None
    """As a link that is longer, slower or worse than the wire."""

    @property
    def ends(self) -> tuple[LinkEnd, LinkEnd]:
        """Both ends."""
        return self.one, self.other


class Host(Part):
    """Something with an address behind a port of a switch."""

    switch: str
    """One of `switches`."""
    port: Port
    """Of the switch, with nothing else behind it."""
    address: Address
    """Outside the network of the services."""
    mac: Mac
    """Of the interface that is plugged in there."""
    sources: Literal["own", "any"] = "own"
    """What it may send from. own: its address, and those of the services that it has an instance of or is the fallback
    of. any: an uplink, behind which others are; what the fabric knows to be elsewhere is refused there, too."""
    emulate: Emulation | None = None
    """The link between it and its switch as one that is longer, slower or worse than the wire."""


class Node(Part):
    """A host that runs the agent, named like the host."""

    node_id: Id
    """In reports. Never reused for another node."""
    path_cost: Word = 0
    """Of the way there: added to the load of every instance on the node. Under `spread`, the µs that work takes to get
    there, before which it does not start."""
    components: list[ComponentName] = []
    """Greengrass components that run on the node beside those of its services; what they depend on comes with them."""


class PinnedToNode(Part):
    """Always this node while it lives; then the best."""

    name: ClassVar = Pinned.name
    one_host: ClassVar = Pinned.one_host
    elects: ClassVar = Pinned.elects

    node: str
    """One of `instances`."""


PolicySpec = Policy | PinnedToNode
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
    def given(self) -> list[PolicySpec]:
        return [choice for name in type(self).model_fields if (choice := getattr(self, name)) is not None]


POLICY_FORMS: dict[str, Any] = {policy.name: policy for policy in POLICIES} | {PinnedToNode.name: PinnedToNode}
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
    """Of one of `hosts`."""


class Instance(Part):
    """A service on a node: its leaf in the tree, and which incarnation of that leaf it is."""

    member: Annotated[int, Field(ge=0, lt=MEMBERS)]
    """Its slot in the service's tree. Never reused for another node without another generation."""
    generation: Annotated[int, Field(ge=1, lt=1 << GENERATION_BITS)] = 1
    """To be raised when a node comes back without its disk."""


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
    """In reports and requests. Never reused for another service."""
    index: Annotated[int, Field(ge=0, lt=SERVICES)]
    """Its index on the switches. Never reused for another service."""
    address: Address
    """Where clients send; in the network of the services."""
    port: TransportPort
    """UDP or TCP, by `protocol`. Services that share a node need different ones: an instance answers there, too."""
    protocol: ServiceProtocol
    """udp: the invocation protocol. tcp: HTTP/1.1."""
    affinity: Annotated[Affinity, BeforeValidator(_affinity)] = _USUAL.affinity
    """What stays with the instance that got its beginning. flow: a 5-tuple, as for every TCP service. request: all
    datagrams of a request. none: each datagram is new work."""
    component: ComponentName
    """Greengrass component that is an instance of the service on each of its nodes."""
    policy: Annotated[PolicySpec, _OnePolicy] = Single()
    """How instances are chosen for new work."""
    score: Score = Score()
    """What makes an instance worse, for the policies that go by load."""
    stale_after_ms: Annotated[int, Field(ge=1, le=3_600_000), Unit("ms")] = _USUAL.stale_after // US_PER_MS
    """An instance without a report for so long gets no new work. At least twice the longer interval of `reports`."""
    dead_after_ms: Annotated[int, Field(ge=1, le=3_600_000), Unit("ms")] = _USUAL.dead_after // US_PER_MS
    """Flows leave an instance without a report for so long. At least `stale_after_ms`."""
    idle_after_ms: Annotated[int, Field(ge=1, le=86_400_000), Unit("ms")] = _USUAL.idle_after // US_PER_MS
    """A flow that was silent for so long may be steered anew."""
    flow_weight: Annotated[Literal[1, 2, 4, 8, 16, 32, 64], Described("1, 2, 4, 8, 16, 32 or 64")] = 1
    """Of its share of a switch's flow store, against all services' weights together, rounded up to a power of two and
    at least 4. No other service can take it."""
    on_no_live: Annotated[
        OnNoLive | Fallback, BeforeValidator(_on_no_live), Described("last, drop or [Fallback](#fallback)")
    ] = _USUAL.on_no_live
    """What becomes of new work when no instance lives. last: it goes where it went last, since reports may be all that
    is lost. drop: it is dropped. A fallback: it goes to that host."""
    steered_by: str | None = None
    """The one switch that chooses. Without it: the fabric's first for `single`, else each for its own clients."""
    triggers: dict[Name, Trigger] = {}
    """What calls it beside its clients (functions.md, "Other ways in")."""
    instances: Annotated[dict[str, Instance], Field(min_length=1)]
    """By node, of `nodes`."""

    @property
    def keeps_flows(self) -> bool:
        """Whether anything of it stays together, and so needs a place in the flow store."""
        return self.protocol == "tcp" or self.affinity is not Affinity.NONE

    def policy_with(self, pin: str | None) -> Policy:
        """The policy in the switch's terms; `pin` is the node that an operator wants as the host.

        Raises KeyError for a node without an instance.
        """
        node = self.policy.node if pin is None and isinstance(self.policy, PinnedToNode) else pin
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
    """What the fabric is called."""
    reports: Reports = Reports()
    gateway: Gateway
    """Of every switch that has none of its own."""
    broker: Broker
    tls: Tls = Tls()
    repository: HttpServer
    """Where the controller serves recipes and artefacts to the nodes; over HTTPS with `tls.bus`."""
    api: Api | None = None
    """Without it, only root and the controller's user on its machine may give commands."""
    metrics: HttpServer = HttpServer(host="127.0.0.1", port=9464)
    """Where the controller serves its metrics to Prometheus."""
    switches: Annotated[dict[Name, SwitchSpec], Field(min_length=1)]
    """In the order in which they are taken where one of several will do."""
    links: list[Link] = []
    """Between switches; every switch reaches every other."""
    hosts: Annotated[dict[Name, Host], Field(min_length=1)]
    """Everything with an address behind a port of a switch."""
    nodes: dict[Name, Node]
    """The hosts that run the agent, by their names in `hosts`."""
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
