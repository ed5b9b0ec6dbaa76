"""The node's network where a switch steers: it owns service addresses, yet its own calls leave through the switch.

    in:  eth0 -> service address on lo -> gateway process      (rule "local", moved behind ours)
    out: function -> 10.96.0.0/16 -> table 10960 -> eth0 -> switch, which may well send it back

Without the rule the kernel would deliver a node's own call to a service address that it owns by itself, unsteered.
Everything is idempotent, and `undo` puts back what was there, also after an earlier agent was killed.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from hitless.files import JsonFile
from hitless.words import SERVICE_NETWORK

log = logging.getLogger(__name__)

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


class NetworkError(Exception):
    """The node's network cannot be set up; the message has the command and what it said."""


@dataclass(frozen=True, slots=True)
class _Before:
    settings: dict[str, dict[str, str]]
    """By scope: all, or an interface."""


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """The network of a node; the caller runs in its network namespace."""

    address: str
    """The node's own address."""
    gateway: str | None
    """Next hop for calls to services; None takes the default route's."""
    saved: Path
    """File that keeps the kernel settings as they were."""
    settings: Path = Path("/proc/sys/net/ipv4/conf")

    def set_up(self) -> None:
        """Prepare the node. Raises NetworkError, StateError."""
        interface = self._interface()
        self._save_settings(interface)
        for scope in ("all", interface):
            for name, value in SETTINGS.items():
                if scope == "all" and name != "rp_filter":
                    continue
                self._write(scope, name, value)
        hop = self.gateway or self._default_gateway()
        _ip("route", "replace", "default", "via", hop, "dev", interface, "src", self.address, "table", str(TABLE))
        rules = _rules()
        if LOCAL_RULE not in rules:
            _ip("rule", "add", "pref", str(LOCAL_RULE), "lookup", "local")
        if OWN_CALLS_RULE not in rules:
            _ip("rule", "add", "pref", str(OWN_CALLS_RULE), "iif", "lo", "to", SERVICES, "lookup", str(TABLE))
        if 0 in rules:
            _ip("rule", "del", "pref", "0")

    def add(self, service_address: str) -> None:
        """Own a service address. Raises NetworkError."""
        _ip("address", "replace", f"{service_address}/32", "dev", "lo")

    def remove(self, service_address: str) -> None:
        """Own a service address no more. Raises NetworkError."""
        if service_address in _addresses("lo"):
            _ip("address", "del", f"{service_address}/32", "dev", "lo")

    def undo(self) -> None:
        """Put everything back. Raises NetworkError."""
        for address in _addresses("lo"):
            if IPv4Address(address) in SERVICE_NETWORK:
                self.remove(address)
        rules = _rules()
        if 0 not in rules:
            _ip("rule", "add", "pref", "0", "lookup", "local")
        for place in (OWN_CALLS_RULE, LOCAL_RULE):
            if place in rules:
                _ip("rule", "del", "pref", str(place))
        if any(route.get("dst") for route in _routes(TABLE)):
            _ip("route", "flush", "table", str(TABLE))
        if (before := self._file.load_or_set_aside()) is not None:
            for scope, values in before.settings.items():
                for name, value in values.items():
                    self._write(scope, name, value)
            self.saved.unlink()

    @property
    def _file(self) -> JsonFile[_Before]:
        return JsonFile(
            self.saved,
            _Before,
            version=1,
            what="the kernel settings from before the agent",
            unreadable="the settings stay as the agent made them: look them over (sysctl net.ipv4.conf)",
            unwritable="make room or let it be written there",
        )

    def _save_settings(self, interface: str) -> None:
        if self.saved.exists():
            return
        settings = {
            scope: {
                name: (self.settings / scope / name).read_text().strip()
                for name in (SETTINGS if scope == interface else ("rp_filter",))
            }
            for scope in ("all", interface)
        }
        self._file.save(_Before(settings))

    def _write(self, scope: str, name: str, value: str) -> None:
        file = self.settings / scope / name
        try:
            file.write_text(value)
        except OSError as error:
            raise NetworkError(f"{file}: {error.strerror}: the agent needs root in the node's namespace") from error

    def _interface(self) -> str:
        for link in _json("address", "show"):
            for address in link.get("addr_info", ()):
                if address.get("local") == self.address:
                    return str(link["ifname"])
        raise NetworkError(f"no interface has the node's address {self.address}: is this the node's namespace?")

    def _default_gateway(self) -> str:
        for route in _json("route", "show", "default"):
            if "gateway" in route:
                return str(route["gateway"])
        raise NetworkError("the node has no default route: add one through the switch, or name gateway_address")


def _rules() -> set[int]:
    return {int(rule["priority"]) for rule in _json("rule", "show")}


def _addresses(interface: str) -> list[str]:
    return [str(info["local"]) for link in _json("address", "show", "dev", interface) for info in link["addr_info"]]


def _routes(table: int) -> list[dict[str, Any]]:
    return [route for route in _json("route", "show", "table", "all") if str(route.get("table")) == str(table)]


def _json(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_ip("-json", "-4", *arguments) or "[]")
    return [entry for entry in found if entry]


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
