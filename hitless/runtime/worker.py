"""A function's worker: takes requests from the node's gateway one at a time and runs the handler on them."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from typing import Any

from hitless.client.blocking import BlockingClient
from hitless.runtime import upstream
from hitless.runtime.handler import Context, Handler, Result, event_of, request_uuid, result_of
from hitless.wire.worker_frames import Configure, Decoder, Frame, Hello, Request, Response, Shutdown, encode

_READ = 256 * 1024


class GatewayLost(Exception):
    """The gateway closed the connection, or sent what a gateway does not send."""


class Worker:
    """One connection to the gateway, one request at a time."""

    def __init__(self, gateway: socket.socket, handler: Handler, handler_name: str, function_name: str) -> None:
        self._gateway = gateway
        self._handler = handler
        self._handler_name = handler_name
        self._function_name = function_name
        self._configuration: dict[str, Any] = {}
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque()
        self._upstream = BlockingClient()

    def run(self) -> None:
        """Say hello and serve until the gateway says Shutdown or SIGTERM comes; what was sent before is finished first.

        Must run in the main thread. Raises GatewayLost, WorkerProtocolError and OSError.
        """
        wake_read, wake_write = socket.socketpair()
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        signal.signal(signal.SIGTERM, lambda *_: None)  # the wake-up descriptor tells, between two requests
        self._gateway.sendall(encode(Hello(os.getpid(), self._handler_name)))
        while (frame := self._next(wake_read)) is not None:
            match frame:
                case Request():
                    self._gateway.sendall(encode(self._execute(frame)))
                case Configure():
                    self._configuration = frame.configuration
                case Shutdown():
                    return
                case _:
                    raise GatewayLost(f"gateway sent a {type(frame).__name__}, expected a request")

    def _next(self, wake: socket.socket) -> Frame | None:
        while not self._frames:
            ready, _, _ = select.select((self._gateway, wake), (), ())
            if self._gateway in ready:
                data = self._gateway.recv(_READ)
                if not data:
                    raise GatewayLost("gateway closed the connection")
                self._frames.extend(self._decoder.feed(data))
            else:
                return None
        return self._frames.popleft()

    def _execute(self, request: Request) -> Response:
        context = Context(
            request_uuid(request),
            self._function_name,
            self._configuration,
            time.monotonic() + request.deadline_ms / 1000,
        )
        started_ns = time.monotonic_ns()
        try:
            with upstream.invocation(self._upstream, context, request.request_id):
                result = result_of(self._handler(event_of(request), context))
        except (Exception, SystemExit) as error:
            traceback.print_exc(file=sys.stderr)
            result = Result(500, {"content-type": "text/plain"}, f"{type(error).__name__}: {error}".encode())
        return Response(request.id, result.status, started_ns, time.monotonic_ns(), result.body, result.headers)
