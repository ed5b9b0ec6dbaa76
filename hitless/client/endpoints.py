"""Which endpoint a client uses for each service. Pure: updates come from the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hitless.wire.calls import Endpoint, UnknownEndpoint
from hitless.wire.invocation import Address

if TYPE_CHECKING:
    # A client without a broker, such as a function's worker, has no use for pydantic.
    from hitless.mqtt.messages import EndpointUpdate


class Endpoints:
    """The current endpoint of each service; a newer update replaces it, an older one is ignored."""

    def __init__(self, services: Mapping[str, int], initial: Mapping[str, Address] | None = None) -> None:
        """`services`: service_id by name. `initial`: endpoints to begin with; others must be learned first."""
        self._service_ids = dict(services)
        self._current = {
            service: Endpoint(services[service], address, port) for service, (address, port) in (initial or {}).items()
        }
        self._latest: dict[str, EndpointUpdate] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services."""
        return tuple(self._service_ids)

    def current(self, service: str) -> Endpoint:
        """Where the service's next request goes. Raises UnknownEndpoint."""
        endpoint = self._current.get(service)
        if endpoint is not None:
            return endpoint
        if service in self._service_ids:
            raise UnknownEndpoint(f"no endpoint of service {service} is known yet")
        raise UnknownEndpoint(f"service {service!r} is unknown, expected one of {sorted(self._service_ids)}")

    def update(self, service: str, update: EndpointUpdate) -> bool:
        """Take an update; whether it was newer than what was known. Raises UnknownEndpoint for another's service."""
        if service not in self._service_ids:
            raise UnknownEndpoint(f"update for service {service!r}, which this client does not call")
        if not update.newer_than(self._latest.get(service)):
            return False
        self._latest[service] = update
        self._current[service] = Endpoint(self._service_ids[service], update.address, update.port)
        return True

    def latest(self, service: str) -> EndpointUpdate | None:
        """The update in force; None while the initial endpoint is."""
        return self._latest.get(service)
