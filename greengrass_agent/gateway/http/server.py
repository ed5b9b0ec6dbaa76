"""The HTTP server of a service: its listeners, its connections, and the bounds that they share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from greengrass_agent.gateway.http import bounds
from greengrass_agent.gateway.http.connection import Connection
from greengrass_agent.gateway.http.listeners import Listeners
from greengrass_agent.gateway.job import Job

log = logging.getLogger(__name__)

SHUTDOWN_S = 5.0
"""For what is under way when the server closes."""
SETTLED_S = 0.02
"""How exactly the end of what is under way is seen."""
SWEEP_S = 1.0
"""How exactly the time limits of connections are kept; without connections there is no sweep."""


class HttpServer:
    """Serves one service on one or more addresses."""

    def __init__(
        self, node: str, timeout_ns: Callable[[], int], submit: Callable[[Job], None], connected: Callable[[], None]
    ) -> None:
        """``submit`` takes each request, ``connected`` is told of each connection."""
        self.node = node
        self.timeout_ns = timeout_ns
        self.submit = submit
        self.streamed = False
        """Whether the function takes bodies as they come."""
        self.closing = False
        """Whether each connection ends with its next answer, so that the client connects anew and is steered anew."""
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._listeners = Listeners(self._connect, self._make_room)
        self._connections: set[Connection] = set()
        self._of_source: dict[str, int] = {}
        """How many connections a source address has."""
        self._starting: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._held = 0
        self._most = bounds.MAX_CONNECTIONS
        self._sweep: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    async def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        self._most = bounds.connection_bound(_raise_descriptor_limit(), len(list(Path("/proc/self/fd").iterdir())))
        self._listeners.open(addresses, port)

    def ports(self) -> list[tuple[str, int]]:
        """The addresses and ports at which it listens."""
        return self._listeners.ports()

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or an answer on its way to a client."""
        return any(connection.under_way for connection in self._connections)

    async def settled(self) -> None:
        """Wait until no request is under way, and no answer on its way to a client."""
        while self.busy:  # noqa: ASYNC110 - only when a gateway ends, which need not be told to each exchange
            await asyncio.sleep(SETTLED_S)

    async def pause(self) -> None:
        """Take no new connection; those that are open end with their next answer."""
        self.closing = True
        self._listeners.close()

    async def close(self) -> None:
        """End the connections that are open, idle ones at once."""
        await self.pause()
        for connection in list(self._connections):
            connection.shut()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), SHUTDOWN_S)
        for connection in list(self._connections):
            connection.cut()
        if self._sweep is not None:
            self._sweep.cancel()

    def connected(self, connection: Connection) -> None:
        """A connection has come; where there are too many, others give way."""
        self._connected()
        self._connections.add(connection)
        self._of_source[connection.source] = self._of_source.get(connection.source, 0) + 1
        self._emptied.clear()
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_S, self._look_round)
        if len(self._connections) > self._most and not self._make_room(but=connection):
            connection.cut()

    def lost(self, connection: Connection) -> None:
        """A connection has gone."""
        self._connections.discard(connection)
        left = self._of_source[connection.source] - 1
        if left:
            self._of_source[connection.source] = left
        else:
            del self._of_source[connection.source]
        if not self._connections:
            self._emptied.set()

    def next_number(self) -> int:
        """The gateway's own number for a request."""
        self._requests += 1
        return self._requests

    def hold(self, connection: Connection, count: int) -> bool:
        """Make room for bytes of a body, if need be by giving up another one; negative: give room back."""
        if count > 0 and self._held + count > bounds.MAX_BUFFERED:
            rivals = (one.held() for one in self._connections if not one.under_way)
            loser = bounds.give_up_body(rivals)
            if loser is None or loser is connection:
                self._held += count
                return False
            loser.refuse_body()
        self._held += count
        return True

    def _connect(self, sock: socket.socket) -> None:
        task = self._loop.create_task(self._adopt(sock))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _adopt(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self), sock)
        except OSError as error:
            log.debug("connection lost before it began: %s", error)
            sock.close()

    def _make_room(self, but: Connection | None = None) -> bool:
        """End idle connections. Returns whether there were any."""
        idle = (one.held() for one in self._connections if not one.under_way and one is not but)
        losers = bounds.give_way(idle, self._of_source, len(self._connections))
        for connection in losers:
            connection.cut()
        return bool(losers)

    def _look_round(self) -> None:
        """End what is past its time limit; again in a second, while there are connections."""
        now = time.monotonic()
        for connection in [one for one in self._connections if one.due <= now]:
            connection.overdue(now)
        self._sweep = self._loop.call_later(SWEEP_S, self._look_round) if self._connections else None


def _raise_descriptor_limit() -> int:
    """Let the process have as many descriptors as it may. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
