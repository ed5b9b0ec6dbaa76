"""Where a component finds a service: an entry of `endpoints` in its configuration.

The controller writes it, the agent reads it, and so do workers, which is why it does without pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from hitless.ipv4 import ipv4_text

ServiceProtocol = Literal["udp", "tcp"]
"""What clients and a service talk. udp: the invocation protocol; tcp: HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """Where a service's new requests go, and what it is."""

    address: str
    """IPv4: the service's own address, or a node's where no switch steers."""
    port: int
    service_id: int
    protocol: ServiceProtocol = "udp"

    @classmethod
    def read(cls, entry: object) -> Self:
        """The endpoint that an entry says; keys that are not known are ignored.

        Raises ValueError, which names the field and what was expected.
        """
        if isinstance(entry, cls):
            return entry
        if not isinstance(entry, Mapping):
            raise ValueError(f"expected a mapping with address, port and service_id, got {entry!r}")
        address, protocol = entry.get("address"), entry.get("protocol", "udp")
        try:
            address = ipv4_text(address)
        except ValueError as error:
            raise ValueError(f"address: {error}, got {address!r}") from None
        if protocol not in get_args(ServiceProtocol):
            raise ValueError(f"protocol: expected {' or '.join(get_args(ServiceProtocol))}, got {protocol!r}")
        return cls(address, _number(entry, "port"), _number(entry, "service_id"), protocol)

    def written(self) -> dict[str, Any]:
        """The entry."""
        return asdict(self)


def _number(entry: Mapping[Any, Any], field: str) -> int:
    value = entry.get(field)
    # Configurations also come from recipes whose values were interpolated, which makes text of them.
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 16:
        raise ValueError(f"{field}: expected a number of 1 to 65535, got {value!r}")
    return number
