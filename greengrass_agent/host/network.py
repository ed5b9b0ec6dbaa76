"""The node's network where a switch steers: it owns service addresses, yet its own calls leave through the switch.

    in:  eth0 -> service address on lo -> gateway process      (rule "local", moved behind ours)
    out: function -> 10.96.0.0/16 -> table 10960 -> eth0 -> switch, which may well send it back

Without the rule the kernel would deliver a node's own call to a service address that it owns by itself, unsteered.
Everything is idempotent, and `undo` puts back what was there, also after an earlier agent was killed. What goes while
the agent runs (the kernel drops a route with its interface or its source address) is set again by `put_back`.
"""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from greengrass_agent.host.network_state import (
    LOCAL_RULE,
    OWN_CALLS_RULE,
    TABLE,
    Change,
    Found,
    MissingError,
    Setting,
    changes,
    scopes,
)
from hitless.files import JsonFile
from hitless.words import SERVICE_NETWORK


class NetworkError(Exception):
    """The node's network cannot be set up; the message has the command and what it said."""


@dataclass(frozen=True, slots=True)
class _Before:
    settings: dict[str, dict[str, str]]
    """By scope: all, or an interface."""


class NodeNetwork:
    """The network of a node; the caller runs in its network namespace. Methods may be called from any thread."""

    def __init__(
        self, address: str, gateway: str | None, saved: Path, settings: Path = Path("/proc/sys/net/ipv4/conf")
    ) -> None:
        """`address`: the node's own. `gateway`: next hop for calls to services; None takes the default route's.

        `saved`: file that keeps the kernel settings as they were.
        """
        self._address = address
        self._gateway = gateway
        self._saved = saved
        self._settings = settings
        self._owned: set[str] = set()
        self._is_up = False
        self._lock = threading.Lock()

    def set_up(self) -> None:
        """Prepare the node. Raises NetworkError, StateError."""
        with self._lock:
            self._make()
            self._is_up = True

    def put_back(self) -> list[Change]:
        """Set again what is missing of what was set; returns what that was. Raises NetworkError, StateError."""
        with self._lock:
            return self._make() if self._is_up else []

    def add(self, service_address: str) -> None:
        """Own a service address. Raises NetworkError."""
        with self._lock:
            self._owned.add(service_address)
            _ip("address", "replace", f"{service_address}/32", "dev", "lo")

    def remove(self, service_address: str) -> None:
        """Own a service address no more. Raises NetworkError."""
        with self._lock:
            self._owned.discard(service_address)
            _remove(service_address)

    def undo(self) -> None:
        """Put everything back. Raises NetworkError."""
        with self._lock:
            self._is_up = False
            self._owned.clear()
            self._undo()

    def _make(self) -> list[Change]:
        found = self._found()
        try:
            wanted = changes(found, self._address, self._gateway, self._owned)
        except MissingError as error:
            raise NetworkError(str(error)) from None
        assert found.interface is not None, "or it would be missing"
        if wanted:
            self._save_settings(found.interface)
        for change in wanted:
            if isinstance(change, Setting):
                self._write(change.scope, change.name, change.value)
            else:
                _ip(*change.words)
        return wanted

    def _found(self) -> Found:
        links = _json("address", "show")
        settings: dict[str, dict[str, str]] = {}
        found = Found.of(self._address, links, _json("route", "show", "table", "all"), _json("rule", "show"), settings)
        if found.interface is not None:
            with suppress(OSError):  # it has gone meanwhile, which will be told
                settings.update(self._read(found.interface))
        return found

    def _undo(self) -> None:
        for address in _addresses("lo"):
            if IPv4Address(address) in SERVICE_NETWORK:
                _remove(address)
        rules = {int(rule["priority"]) for rule in _json("rule", "show")}
        if 0 not in rules:
            _ip("rule", "add", "pref", "0", "lookup", "local")
        for place in (OWN_CALLS_RULE, LOCAL_RULE):
            if place in rules:
                _ip("rule", "del", "pref", str(place))
        if any(str(route.get("table")) == str(TABLE) for route in _json("route", "show", "table", "all")):
            _ip("route", "flush", "table", str(TABLE))
        if (before := self._file.load_or_set_aside()) is not None:
            for scope, values in before.settings.items():
                for name, value in values.items():
                    if (self._settings / scope).exists():  # or its interface has gone, and its settings with it
                        self._write(scope, name, value)
            self._saved.unlink()

    @property
    def _file(self) -> JsonFile[_Before]:
        return JsonFile(
            self._saved,
            _Before,
            version=1,
            what="the kernel settings from before the agent",
            unreadable="the settings stay as the agent made them: look them over (sysctl net.ipv4.conf)",
            unwritable="make room or let it be written there",
        )

    def _save_settings(self, interface: str) -> None:
        if not self._saved.exists():
            self._file.save(_Before(self._read(interface)))

    def _read(self, interface: str) -> dict[str, dict[str, str]]:
        return {
            scope: {name: (self._settings / scope / name).read_text().strip() for name in names}
            for scope, names in scopes(interface).items()
        }

    def _write(self, scope: str, name: str, value: str) -> None:
        file = self._settings / scope / name
        try:
            file.write_text(value)
        except OSError as error:
            raise NetworkError(f"{file}: {error.strerror}: the agent needs root in the node's namespace") from error


def _remove(address: str) -> None:
    if address in _addresses("lo"):
        _ip("address", "del", f"{address}/32", "dev", "lo")


def _addresses(interface: str) -> list[str]:
    return [str(info["local"]) for link in _json("address", "show", "dev", interface) for info in link["addr_info"]]


def _json(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_ip("-json", "-4", *arguments) or "[]")
    return [entry for entry in found if entry]


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
