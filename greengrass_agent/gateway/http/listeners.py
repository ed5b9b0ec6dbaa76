"""Sockets at which connections come. Accepting never spins: without descriptors it waits, and so do the clients."""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

BACKLOG = 512
AT_A_TIME = 64
"""Connections accepted before other work has its turn."""
PAUSE_S = 0.1
"""Without accepting, when the machine has no descriptor or no memory for a connection."""
TOLD_S = 10.0
"""Between two lines of log about that."""
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listeners:
    """Listens at the addresses of a service."""

    def __init__(self, connect: Callable[[socket.socket], None], short: Callable[[], object]) -> None:
        """`connect` takes each connection; `short` is told when one could not be accepted for want of descriptors."""
        self._connect = connect
        self._short = short
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._told = -TOLD_S

    def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        for address in addresses:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
        self._watch()

    def ports(self) -> list[tuple[str, int]]:
        """The addresses and ports at which it listens."""
        return [sock.getsockname() for sock in self._sockets]

    def close(self) -> None:
        """Take no new connection."""
        if self._again is not None:
            self._again.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _watch(self) -> None:
        self._again = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(AT_A_TIME):
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _SHORT:
                    continue  # of one connection, which has gone again (accept(2))
                if _is_readable(sock):  # the kernel looks for a descriptor first, and then whether anybody waits
                    self._wait(error)
                return
            accepted.setblocking(False)
            self._connect(accepted)

    def _wait(self, error: OSError) -> None:
        """Make room, and accept a little later: a socket that is watched would say at once that it is readable."""
        now = self._loop.time()
        if now - self._told >= TOLD_S:
            self._told = now
            log.warning("connections wait: %s", error)
        self._short()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        self._again = self._loop.call_later(PAUSE_S, self._watch)


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
