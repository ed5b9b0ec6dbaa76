"""Keeps an eye on the certificates in use: takes renewed ones over, and tells of those that near their end."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from controller.authority import warnings
from controller.authority.plan import days
from hitless.tls import Identity, TlsError

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two looks at the controller's own folders."""
PEERS_EVERY_S = 3600.0
"""Between two looks at the certificates that broker and switches show."""
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server whose certificate is looked at."""

    who: str
    host: str
    port: int
    identity: Identity
    """Who the controller is there."""


class CertificateWatch:
    """The dates of all certificates that the controller can see, and the offsets of the nodes' clocks."""

    def __init__(
        self,
        own: Mapping[str, Identity],
        peers: Sequence[Peer] = (),
        servers: Sequence[ssl.SSLContext] = (),
    ) -> None:
        """`own` is who the controller is, by what for; `servers` serve with the first of them."""
        self.expiries: dict[str, float] = {}
        """When the certificates expire, in seconds since 1970, by whose they are."""
        self.offsets: dict[str, float] = {}
        """By how many seconds the nodes' clocks are ahead of this machine's."""
        self._own = dict(own)
        self._peers = tuple(peers)
        self._servers = tuple(servers)
        self._certificates = dict.fromkeys(own, b"")
        self._told: set[tuple[str, str]] = set()

    def heard(self, node: str, expires: float | None, ahead_s: float | None) -> None:
        """A node tells when its certificate expires; `ahead_s`: by how much its clock was ahead then, if known."""
        self._note(node, expires)
        if ahead_s is not None:
            self.offsets[node] = ahead_s

    def warnings(self, now: float) -> list[str]:
        """What is wrong or will be soon, in words."""
        return list(self._warnings(now).values())

    def _warnings(self, now: float) -> dict[tuple[str, str], str]:
        """The same by what they are news about: of a clock, once; of a certificate, every day."""
        found = {("clock", node): warnings.skew(node, ahead) for node, ahead in sorted(self.offsets.items())}
        for who, until in sorted(self.expiries.items()):
            found[who, days(until - now)] = warnings.expiry(who, until, now)
        return {about: text for about, text in found.items() if text is not None}

    def look(self, now: float) -> list[str]:
        """Take over what was renewed; returns the warnings that are new."""
        for what, identity in self._own.items():
            try:
                certificate = identity.certificate()
                if (pem := identity.read().certificate) != self._certificates[what]:
                    self._take_over(identity)
                    self._certificates[what] = pem
                self._note(what, certificate.not_after)
            except TlsError as error:
                log.error("%s (the certificates before them stay in use)", error)
        current = self._warnings(now)
        fresh = [text for about, text in current.items() if about not in self._told]
        self._told = set(current)
        return fresh

    async def run(self, tell: Callable[[str], None]) -> NoReturn:
        """Look again and again until cancelled; `tell` hears of each warning once."""
        peers_due = 0.0
        while True:
            if time.monotonic() >= peers_due:
                await asyncio.gather(*(self._look_at(peer) for peer in self._peers))
                peers_due = time.monotonic() + PEERS_EVERY_S
            for text in self.look(time.time()):
                tell(text)
            await asyncio.sleep(EVERY_S)

    def _note(self, who: str, expires: float | None) -> None:
        if expires is None:
            self.expiries.pop(who, None)
        else:
            self.expiries[who] = expires

    def _take_over(self, identity: Identity) -> None:
        if identity is not next(iter(self._own.values())):
            return
        for context in self._servers:
            identity.reload(context)

    async def _look_at(self, peer: Peer) -> None:
        """Note a server's dates; why it cannot be reached, its session says."""
        with suppress(OSError, TimeoutError, TlsError):
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(peer.host, peer.port, ssl=peer.identity.client())
            shown = writer.get_extra_info("peercert")
            writer.transport.abort()
            self._note(peer.who, ssl.cert_time_to_seconds(shown["notAfter"]))
