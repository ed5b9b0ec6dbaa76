"""An HTTP server of the gateway on loopback, in a thread, with a function that is a Python function of the test."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from greengrass_agent.gateway.http.server import HttpServer
from greengrass_agent.gateway.job import Answer, Job
from tests.patience import PATIENCE

RESET = b"<reset>"
JSON = {"content-type": "application/json"}


def mirror(job: Job) -> None:
    """Answer with what came: method, path, query and body."""
    assert job.http is not None
    lines = (job.http.method, job.http.path, job.http.query, (job.body or b"").decode("latin-1"))
    job.conclude(Answer(200, "|".join(lines).encode("latin-1"), JSON))


@dataclass
class FakeFlow:
    """The worker's end of a job: notes what it is told."""

    told: list[object] = field(default_factory=list)

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def body(self, data: bytes, *, last: bool) -> None:
        self.told.append((bytes(data), last))

    def cancel(self) -> None:
        self.told.append("cancel")


@dataclass
class Serving:
    """A server that runs."""

    server: HttpServer
    loop: asyncio.AbstractEventLoop
    port: int
    jobs: list[Job]
    connections: list[int]
    """One entry for each that came."""

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def do(self, what: Callable[[], Any]) -> Any:
        """Do something in the server's thread."""

        async def doing() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(PATIENCE)

    def ask(self, *pieces: bytes) -> bytes:
        """Send some bytes and return all that comes until the server ends the connection."""
        with self.connect() as sock:
            for piece in pieces:
                sock.sendall(piece)
            return rest(sock)


def rest(sock: socket.socket) -> bytes:
    """All that comes until the end."""
    received = []
    try:
        while data := sock.recv(1 << 20):
            received.append(data)
    except ConnectionResetError:
        received.append(RESET)
    return b"".join(received)


def until_has(sock: socket.socket, wanted: bytes) -> bytes:
    """What comes, up to some bytes that are waited for."""
    received = b""
    while wanted not in received:
        data = sock.recv(65536)
        assert data, f"the connection ended after {received!r}"
        received += data
    return received


@contextmanager
def serving(
    submit: Callable[[Job], None] = mirror, *, streamed: bool = False, timeout_s: float = 10
) -> Iterator[Serving]:
    """A server whose function is `submit`, called in the server's thread."""
    jobs: list[Job] = []
    connections: list[int] = []
    started = threading.Event()
    running: list[Serving] = []
    stop: list[asyncio.Event] = []

    def take(job: Job) -> None:
        jobs.append(job)
        submit(job)

    async def main() -> None:
        server = HttpServer("n1", lambda: int(timeout_s * 1e9), take, lambda: connections.append(1))
        server.streamed = streamed
        await server.open(["127.0.0.1"], 0)
        stop.append(asyncio.Event())
        running.append(Serving(server, asyncio.get_running_loop(), server.ports()[0][1], jobs, connections))
        started.set()
        await stop[0].wait()
        await server.close()

    thread = threading.Thread(target=lambda: uvloop.run(main()), daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield running[0]
    finally:
        running[0].loop.call_soon_threadsafe(stop[0].set)
        thread.join(PATIENCE)
    assert not thread.is_alive()
