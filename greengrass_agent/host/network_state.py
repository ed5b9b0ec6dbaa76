"""What the agent sets in the node's kernel, and what must be done where some of it is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hitless.words import SERVICE_NETWORK

SERVICES: Final = str(SERVICE_NETWORK)
TABLE: Final = 10960
OWN_CALLS_RULE: Final = 100
LOCAL_RULE: Final = 200
"""Where the rule for the table `local` stands while ours must come before it; the kernel's own place is 0."""
SETTINGS: Final[Mapping[str, str]] = {
    "rp_filter": "0",  # an own call that comes back has a source that is ours
    "accept_local": "1",
    "arp_ignore": "1",  # the switch answers ARP for service addresses, not the nodes that own them
    "arp_announce": "2",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A default route."""

    via: str
    interface: str
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel has."""

    interface: str | None
    """The one that has the node's own address."""
    default_gateway: str | None
    """Of the node's own default route."""
    route: Route | None
    """The default route of our table."""
    rules: frozenset[int]
    """Their places."""
    addresses: frozenset[str]
    """On the loopback interface."""
    settings: Mapping[str, Mapping[str, str]]
    """By scope (all, or the interface) and name."""

    @classmethod
    def of(
        cls,
        address: str,
        links: Iterable[Mapping[str, Any]],
        routes: Iterable[Mapping[str, Any]],
        rules: Iterable[Mapping[str, Any]],
        settings: Mapping[str, Mapping[str, str]],
    ) -> Found:
        """From what `ip -json` says; the routes are those of all tables. `address` is the node's own."""
        owners = {info.get("local"): link["ifname"] for link in links for info in link.get("addr_info", ())}
        defaults = [one for one in routes if one.get("dst") == "default" and "gateway" in one]
        own = [one for one in defaults if str(one.get("table")) == str(TABLE)]
        return cls(
            owners.get(address),
            next((str(one["gateway"]) for one in defaults if "table" not in one), None),
            next((Route(one["gateway"], one["dev"], one.get("prefsrc", "")) for one in own), None),
            frozenset(int(rule["priority"]) for rule in rules),
            frozenset(str(owned) for owned, interface in owners.items() if interface == "lo"),
            settings,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """Write a kernel setting."""

    scope: str
    name: str
    value: str

    def __str__(self) -> str:
        return f"net.ipv4.conf.{self.scope}.{self.name} = {self.value}"


@dataclass(frozen=True, slots=True)
class Command:
    """Call `ip` with these words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"ip {' '.join(self.words)}"


Change = Setting | Command


class MissingError(Exception):
    """Something that the agent does not set is not there; the message says what, and what to do."""


def changes(found: Found, address: str, gateway: str | None, owned: Iterable[str]) -> list[Change]:
    """What makes the kernel as it must be for a node with this address that owns these service addresses.

    Calls to services go by `gateway`; None takes the default route's. Raises MissingError.
    """
    if found.interface is None:
        raise MissingError(f"no interface has the node's address {address}: is this the node's namespace?")
    if (hop := gateway or found.default_gateway) is None:
        raise MissingError("the node has no default route: add one through the switch, or name gateway_address")
    route = Route(hop, found.interface, address)
    return [
        *_settings(found.settings, found.interface),
        *([] if found.route == route else [_replace(route)]),
        *_rules(found.rules),
        *(Command(("address", "replace", f"{one}/32", "dev", "lo")) for one in sorted({*owned} - found.addresses)),
    ]


def scopes(interface: str) -> Mapping[str, tuple[str, ...]]:
    """The settings that the agent makes, by scope."""
    return {"all": ("rp_filter",), interface: tuple(SETTINGS)}


def _settings(found: Mapping[str, Mapping[str, str]], interface: str) -> Iterator[Change]:
    for scope, names in scopes(interface).items():
        for name in names:
            if found.get(scope, {}).get(name) != SETTINGS[name]:
                yield Setting(scope, name, SETTINGS[name])


def _replace(route: Route) -> Command:
    where = ("via", route.via, "dev", route.interface, "src", route.source)
    return Command(("route", "replace", "default", *where, "table", str(TABLE)))


def _rules(found: frozenset[int]) -> Iterator[Change]:
    # In this order: the table `local` must be looked up at any moment.
    if LOCAL_RULE not in found:
        yield Command(("rule", "add", "pref", str(LOCAL_RULE), "lookup", "local"))
    if OWN_CALLS_RULE not in found:
        own_calls = ("iif", "lo", "to", SERVICES, "lookup", str(TABLE))
        yield Command(("rule", "add", "pref", str(OWN_CALLS_RULE), *own_calls))
    if 0 in found:
        yield Command(("rule", "del", "pref", "0"))
