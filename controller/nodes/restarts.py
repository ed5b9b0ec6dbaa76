"""Restarts of components that nodes were asked for and have not told the end of."""

import asyncio
import secrets
from dataclasses import dataclass, field

PATIENCE_S = 150.0
"""How long a node may take: a launch that comes up does so within 120 s unless its recipe says otherwise."""


@dataclass(slots=True)
class Restarts:
    """The requests under way, by their tokens."""

    _waiting: dict[str, tuple[str, asyncio.Future[str | None]]] = field(default_factory=dict)

    def begin(self, node: str) -> str:
        """A request to a node; returns its token."""
        token = secrets.token_hex(8)
        self._waiting[token] = node, asyncio.get_running_loop().create_future()
        return token

    def ended(self, token: str, reason: str | None) -> None:
        """The node has told the end of a request: None, or why the component was not restarted."""
        _, future = self._waiting.get(token, ("", None))
        if future is not None and not future.done():
            future.set_result(reason)

    def lost(self, node: str) -> None:
        """The node has gone: nobody knows how its requests end."""
        for token, (asked, _) in list(self._waiting.items()):
            if asked == node:
                self.ended(token, "the node went offline meanwhile")

    async def end(self, token: str) -> str | None:
        """Wait for the end of a request; returns None, or why the component was not restarted."""
        _, future = self._waiting[token]
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await future
        except TimeoutError:
            return f"the node has not told the end within {PATIENCE_S:g} s"
        finally:
            del self._waiting[token]
