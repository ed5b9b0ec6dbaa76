"""A function's own runtime: the process of its `bootstrap`, and the loopback port at which it asks for work."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from hitless.exits import describe_exit, with_starter
from hitless.runtime.gateway import complain
from hitless.runtime.handler import HandlerError
from hitless.runtime.leave import leave
from hitless.runtime.peers import owner_of
from hitless.wire.runtime_api import Event, RuntimeApi

GRACE_S = 1.0
"""How long a bootstrap may take to end after SIGTERM, to finish an answer whose client has gone, and to ask again after
it has failed."""
_READ = 256 * 1024
_LOOPBACK = "127.0.0.1"


class Bootstrap:
    """One process of a bootstrap with all that it starts, served by one thread. Its end is this process's end."""

    def __init__(self, path: Path, artifacts: Path) -> None:
        """Start it, with `artifacts` as its current folder. Raises HandlerError."""
        self.api = RuntimeApi()
        self._user = os.getuid()
        self._listener = socket.create_server((_LOOPBACK, 0), backlog=64)
        self._listener.setblocking(False)
        self._connections: dict[int, socket.socket] = {}
        self._told = False
        """Whether the log has been told of a connection that was refused."""
        self.ended = False
        """Whether the process has."""
        self._path = path
        self._process = _start(path, artifacts, f"{_LOOPBACK}:{self._listener.getsockname()[1]}")
        self._pidfd = os.pidfd_open(self._process.pid)
        self._poll = select.epoll()
        for descriptor in (self._listener.fileno(), self._pidfd):
            self._poll.register(descriptor, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when `turn` has something to do."""
        return self._poll.fileno()

    def turn(self) -> None:
        """Do what there is to do, without waiting. Ends this process if the bootstrap has ended."""
        if not self._turn(0) and self.ended:
            self._leave()

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event, for so many seconds at most. Ends this process if the bootstrap has ended."""
        while not self.api.events:
            # What it sent before it ended still counts.
            if not self._turn(timeout):
                if self.ended:
                    self._leave()
                if timeout is not None:
                    return None
        return self.api.events.popleft()

    def flush(self) -> None:
        """Write what the API has to say."""
        while self.api.to_send:
            number, data, close = self.api.to_send.popleft()
            connection = self._connections.get(number)
            if connection is None:
                continue
            try:
                connection.sendall(data)
            except OSError:
                close = True
            if close:
                self._close(number)

    def settle(self) -> None:
        """Wait until it asks for another invocation, or has ended: one that has failed often ends itself."""
        until = time.monotonic() + GRACE_S
        while not (self.api.asked or self.ended) and (left := until - time.monotonic()) > 0:
            self._turn(left)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        select.select([self._pidfd], [], [])
        self.ended = True

    def end(self) -> None:
        """Ask it to end (SIGTERM), and wait for that a little; who started this process kills what is left."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        select.select([self._pidfd], [], [], GRACE_S)

    def _turn(self, timeout: float | None) -> bool:
        """Wait for something to do and do it. Returns whether the runtime's connections had anything."""
        had = False
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor == self._pidfd:
                self.ended = True
                continue
            had = True
            if descriptor == self._listener.fileno():
                self._accept()
            else:
                self._read(descriptor)
        self.flush()
        return had

    def _accept(self) -> None:
        try:
            connection, peer = self._listener.accept()
        except OSError:  # it has gone already
            return
        try:
            owner = owner_of(peer, connection.getsockname())
        except OSError as error:
            raise HandlerError(f"Runtime API: the kernel does not tell whose a connection is: {error}") from None
        if owner != self._user:
            connection.close()
            if owner is not None and not self._told:
                self._told = True
                complain(
                    f"Runtime API: refused a connection of a process of user {owner}, which is not this function's"
                )
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(True)
        number = connection.fileno()
        self._connections[number] = connection
        self._poll.register(number, select.EPOLLIN)
        self.api.opened(number)

    def _read(self, number: int) -> None:
        connection = self._connections.get(number)
        if connection is None:  # closed in this turn
            return
        try:
            data = connection.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.api.received(number, data)
        else:
            self._close(number)

    def _close(self, number: int) -> None:
        self.api.closed(number)
        connection = self._connections.pop(number)
        self._poll.unregister(number)
        connection.close()

    def _leave(self) -> None:
        code = self._process.wait()
        complain(f"bootstrap {self._path} {describe_exit(code)}")
        leave(code if code > 0 else 128 - code if code < 0 else 1)


def _start(path: Path, artifacts: Path, api: str) -> subprocess.Popen[bytes]:
    if not path.is_file():
        raise HandlerError(f"bootstrap {path}: there is no such file")
    if not os.access(path, os.X_OK):
        raise HandlerError(
            f"bootstrap {path} may not be executed: "
            "let its artefact in the recipe have `Permission: {Execute: OWNER}`"
        )
    variables = {
        **{name: value for name, value in os.environ.items() if name != "AWS_EXECUTION_ENV"},
        "AWS_LAMBDA_RUNTIME_API": api,
        "LAMBDA_RUNTIME_DIR": str(path.parent),
    }
    try:
        return subprocess.Popen(with_starter([str(path)]), env=variables, cwd=artifacts, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise HandlerError(f"bootstrap {path} cannot be started: {error}") from None
