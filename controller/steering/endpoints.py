"""The endpoints that clients are told, with a (term, version) that only grows. Pure."""

from dataclasses import dataclass, field

from hitless.mqtt.messages import EndpointUpdate


@dataclass(slots=True)
class Endpoints:
    """Each service's endpoint."""

    term: int
    """Of this controller, unless the broker holds endpoints of a later one: then one more than theirs."""
    current: dict[str, EndpointUpdate] = field(default_factory=dict)
    """By service; the ones to be retained at the broker."""

    def set(self, service: str, address: str, port: int, reason: str) -> EndpointUpdate:
        """Give a service an endpoint; returns what to publish."""
        before = self.current.get(service)
        update = EndpointUpdate(
            term=self.term,
            version=before.version + 1 if before is not None else 1,
            address=address,
            port=port,
            reason=reason,
        )
        self.current[service] = update
        return update

    def is_own(self, service: str, update: EndpointUpdate) -> bool:
        """Whether an endpoint that the broker tells is of this controller."""
        known = self.current.get(service)
        return known is not None and update.term == self.term and update.version <= known.version

    def outrun(self, update: EndpointUpdate) -> bool:
        """Get ahead of an endpoint that the broker holds; True when everything must be published anew.

        Clients would ignore all that a controller says which has lost its state and begins at an earlier term.
        """
        if update.term < self.term:
            return False
        self.term = update.term + 1
        self.current = {
            service: own.model_copy(update={"term": self.term, "version": 1}) for service, own in self.current.items()
        }
        return True
