"""Whether this node should take a service's triggers, which one node does at a time. Pure.

The broker decides: one session has the service's trigger identity, and another one ends it. So two nodes that try at
the same time do no harm; this only keeps them from trying while somebody has it. Words of the holder come over the
node's own session, and are believed for a while.
"""

from __future__ import annotations

import zlib

from hitless.backoff import Backoff

LEASE_S = 10.0
"""How long a holder is believed in that says nothing more."""
HEARTBEAT_S = 3.0
"""How often it says so."""
FIRST_S, SPREAD_S = 0.1, 0.5
"""Who waits for free triggers takes them after `FIRST_S` and, by node and service, up to `SPREAD_S` more."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0


class Standby:
    """One service, as a node sees it that does not hold its triggers. Times are of a clock that only goes forward."""

    def __init__(self, node: str, service: str) -> None:
        self._delay_s = FIRST_S + SPREAD_S * (zlib.crc32(f"{service}/{node}".encode()) % 1000) / 1000
        self._due: float | None = None
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)

    @property
    def due(self) -> float | None:
        """When to take them, unless somebody says before that they are taken; None while the broker is not there."""
        return self._due

    def listening(self, now: float) -> None:
        """The broker tells from now on who has them; it says nothing where nobody has."""
        self._due = now + self._delay_s

    def told(self, online: bool, now: float) -> None:
        """A holder says that it has them, or that it has them no longer."""
        self._due = now + self._delay_s + (LEASE_S if online else 0.0)

    def lost(self, now: float, *, held: bool) -> None:
        """They could not be taken, or were and are no longer. Whoever took them says so in time."""
        if held:
            self._backoff.reset()
        self._due = max(self._due or 0.0, now + self._delay_s + self._backoff.next())
