"""The Thrift server: a thread that accepts connections from this machine, and one for each that was accepted.

Only loopback is served, as nobody is asked who he is. What Thrift needs is read at the first connection: a switch to
which nobody speaks Thrift starts as fast as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from functools import partial
from typing import Any

from softswitch.p4runtime.server import P4RuntimeServer

LOGGER = logging.getLogger("softswitch.thrift")

HOST = "127.0.0.1"

MAX_CLIENTS = 64
"""Connections at a time; one more is closed at once."""

MAX_CALL = 32 << 20
"""Bytes of one call."""

_JOIN_S = 1.0


class ThriftServer:
    """Serves the device of `p4runtime`, which runs in `loop`. Raises OSError when the port is taken."""

    def __init__(self, p4runtime: P4RuntimeServer, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._p4runtime = p4runtime
        self._loop = loop
        self._listening = socket.create_server((HOST, port), backlog=MAX_CLIENTS)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._processor: Any = None
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, name="thrift", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close all connections once the calls under way are done, for a second at most."""
        with self._lock:
            self._closing = True
            threads = list(self._clients.values())
            for connection in (self._listening, *self._clients):
                # wakes who waits in accept or recv
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        for thread in (self._acceptor, *threads):
            thread.join(_JOIN_S)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._closing or len(self._clients) >= MAX_CLIENTS:
                    LOGGER.warning("a connection is refused: there are %d", len(self._clients))
                    connection.close()
                    continue
                serve = partial(self._serve, connection)
                thread = threading.Thread(target=serve, name="thrift client", daemon=True)
                self._clients[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        from softswitch.thrift.connection import Connection, EndOfCalls

        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            processor, client = self._services(), Connection(connection, MAX_CALL)
            while not self._closing:
                client.begin_call()
                processor.process(client.protocol)
        except EndOfCalls as end:
            LOGGER.debug("a client is gone: %s", end)
        except Exception as error:
            LOGGER.warning("a connection is closed: %s: %s", type(error).__name__, error)
        finally:
            with self._lock:
                del self._clients[connection]
            connection.close()

    def _services(self) -> Any:
        with self._lock:
            if self._processor is None:
                from softswitch.thrift.access import Access
                from softswitch.thrift.services import processor

                self._processor = processor(Access(self._p4runtime, self._loop), self.port)
            return self._processor
