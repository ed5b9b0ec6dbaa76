"""The gateway's side of the Unix socket at which a function's workers connect."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, cast

from hitless.wire.worker_frames import (
    Configure,
    Decoder,
    Frame,
    Hello,
    Request,
    Response,
    WorkerProtocolError,
    encode,
)

log = logging.getLogger(__name__)


class WorkerConnection(asyncio.Protocol):
    """One worker. `joined`, `responded` and `left` are told what happens to it; `left` only if it had joined."""

    def __init__(
        self,
        configuration: Callable[[], dict[str, Any]],
        joined: Callable[[WorkerConnection], None],
        responded: Callable[[WorkerConnection, Response], None],
        left: Callable[[WorkerConnection], None],
    ) -> None:
        self._configuration = configuration
        self._joined = joined
        self._responded = responded
        self._left = left
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._hello: Hello | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its Hello."""
        # A stream's, but uvloop's is no asyncio.Transport by type.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take frames; a worker that does not speak the protocol is disconnected."""
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except WorkerProtocolError as error:
            log.error("worker %s: %s: disconnected", self._hello.pid if self._hello else "unknown", error)
            self._disconnect()

    def connection_lost(self, error: Exception | None) -> None:
        """The worker has ended, or was disconnected."""
        self._transport = None
        if self._hello is not None:
            log.info("worker %d has left%s", self._hello.pid, f": {error}" if error else "")
            self._left(self)

    def send(self, request: Request) -> None:
        """Give it a request."""
        if self._transport is not None:
            self._transport.write(encode(request))

    def configure(self) -> None:
        """Give it the component's configuration as it is now."""
        if self._transport is not None and self._hello is not None:
            self._transport.write(encode(Configure(self._configuration())))

    def kill(self) -> None:
        """End a worker that is stuck in a request."""
        if self._hello is not None:
            log.error("worker %d has not answered within the time limit: killed", self._hello.pid)
            try:
                os.kill(self._hello.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._disconnect()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Hello() if self._hello is None:
                self._hello = frame
                log.info("worker %d has joined with %s", frame.pid, frame.handler)
                self.configure()
                self._joined(self)
            case Response() if self._hello is not None:
                self._responded(self, frame)
            case _:
                raise WorkerProtocolError(f"unexpected {type(frame).__name__.lower()} frame")

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.abort()
