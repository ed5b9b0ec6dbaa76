"""A gateway's end of a worker connection, for tests: the runtime is started as a node starts it."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import (
    Configure,
    Frame,
    Hello,
    HttpHead,
    Invoked,
    Ready,
    Request,
    Response,
)
from tests.patience import PATIENCE

BOOTSTRAPS = Path(__file__).parent / "bootstraps"
"""Functions' own runtimes."""
PATIENCE_MS = int(1000 * PATIENCE)


def deadline_ns(in_ms: int = PATIENCE_MS) -> int:
    """What a request is told that its client waits until."""
    return time.monotonic_ns() + in_ms * 1_000_000


@dataclass
class Connection:
    """One worker, as the gateway sees it."""

    socket: socket.socket
    hello: Hello = field(init=False)
    _decoder: Decoder = field(default_factory=Decoder)
    _frames: deque[Frame] = field(default_factory=deque)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.socket.settimeout(PATIENCE)
        hello = self.receive()
        assert isinstance(hello, Hello)
        self.hello = hello

    def warm(self) -> None:
        """Give a worker an empty configuration, and wait until it is warm."""
        self.configure()
        assert isinstance(self.receive(), Ready)

    def send(self, frame: Frame) -> None:
        """Write a frame."""
        self.socket.sendall(encode(frame))

    def receive(self) -> Frame | None:
        """The next frame; None when the worker has closed the connection."""
        while not self._frames:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:  # it has ended without having read all that it was sent
                return None
            if not data:
                return None
            self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    def configure(self, **configuration: Any) -> None:
        """Give the worker its whole configuration."""
        self.send(Configure(configuration))

    def request(
        self,
        body: bytes = b"",
        *,
        http: HttpHead | None = None,
        invoked: Invoked | None = None,
        deadline_ms: int = PATIENCE_MS,
        request_id: int = 0,
    ) -> Request:
        """Send a request."""
        number = next(self._ids)
        request = Request(number, 42, request_id or number, 0, deadline_ns(deadline_ms), body, http, invoked)
        self.send(request)
        return request

    def call(self, body: bytes = b"", **options: Any) -> Response:
        """Send a request and wait for its response."""
        request = self.request(body, **options)
        response = self.receive()
        assert isinstance(response, Response) and response.id == request.id
        return response


@dataclass
class Runtime:
    """A started `python -m hitless.function`: its supervisor, and its workers."""

    process: subprocess.Popen[str]
    listener: socket.socket
    connections: list[Connection] = field(default_factory=list)

    def accept(self, count: int = 1) -> list[Connection]:
        """Wait until so many more processes have said hello."""
        new = [Connection(self.listener.accept()[0]) for _ in range(count)]
        self.connections += new
        return new

    def warm_worker(self) -> Connection:
        """Wait for another worker, and make it warm."""
        (worker,) = self.accept()
        assert worker.hello.role == "worker"
        worker.warm()
        return worker

    @property
    def supervisor(self) -> Connection:
        """The connection of the parent."""
        return next(one for one in self.connections if one.hello.role == "supervisor")

    @property
    def workers(self) -> list[Connection]:
        """Those of the workers."""
        return [one for one in self.connections if one.hello.role == "worker"]

    @property
    def worker(self) -> Connection:
        """The only worker."""
        (worker,) = self.workers
        return worker

    def end(self) -> tuple[int, str]:
        """Wait for the process to end; its exit code and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


def start(handler: str, artifacts: Path, gateway: Path, *options: str) -> subprocess.Popen[str]:
    """Start the runtime."""
    return start_module("hitless.function", gateway, "--handler", handler, "--artifacts", str(artifacts), *options)


def start_module(module: str, gateway: Path, *options: str, **more: str) -> subprocess.Popen[str]:
    """Start a runtime, with `more` variables."""
    names = {
        "HITLESS_GATEWAY": str(gateway),
        "HITLESS_COMPONENT": "org.Test",
        "HITLESS_COMPONENT_VERSION": "1.2.3",
        "HITLESS_MEMORY_MB": "256",
        "HITLESS_NODE": "edge1",
        "HITLESS_LAUNCH": "3",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *options],
        env=os.environ | names | more,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A gateway's socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PATIENCE)
        yield listener


@contextmanager
def runtime(handler: str, artifacts: Path, folder: Path, *more: str, workers: int = 1) -> Iterator[Runtime]:
    """A runtime whose workers are warm, with `more` options; ended at the end."""
    path = folder / f"{handler}.sock"
    with listening(path) as listener:
        options = (*more, "--workers", str(workers)) if workers > 1 else more
        with served(start(handler, artifacts, path, *options), listener, workers) as running:
            yield running


@contextmanager
def served(process: subprocess.Popen[str], listener: socket.socket, workers: int = 1) -> Iterator[Runtime]:
    """A runtime that was started, once its workers are warm; ended at the end."""
    running = Runtime(process, listener)
    try:
        running.accept(1 + workers)
        for worker in running.workers:
            worker.warm()
        yield running
    finally:
        for connection in running.connections:
            connection.socket.close()
        if running.process.poll() is None:
            running.process.terminate()
            running.process.communicate(timeout=PATIENCE)
        assert running.process.stderr is not None
        running.process.stderr.close()
