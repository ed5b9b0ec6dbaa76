"""The connection of a function's process to its node's gateway, which comes back when the gateway does."""

from __future__ import annotations

import select
import signal
import socket
import sys
from collections import deque
from contextlib import suppress

from hitless.backoff import Backoff
from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import Frame, WorkerProtocolError

FIRST_PAUSE_S = 0.02
LAST_PAUSE_S = 2.0
_LOOKED_AT = 64
"""Frames that are taken from the socket only to look for one among them."""
_READ = 256 * 1024


class GatewayLost(Exception):
    """The gateway closed the connection, or sent what a gateway does not send."""


class Wake:
    """A descriptor that is readable once one of these signals has come. In the main thread only."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.readable, self._writable = socket.socketpair()
        self.readable.setblocking(False)
        self._writable.setblocking(False)
        signal.set_wakeup_fd(self._writable.fileno(), warn_on_full_buffer=False)
        for one in signals:
            signal.signal(one, lambda *_: None)  # the descriptor tells, when there is time to look

    def taken(self) -> set[int]:
        """The signals that have come since it was asked last."""
        try:
            return set(self.readable.recv(4096))
        except BlockingIOError:
            return set()

    def close(self) -> None:
        """Let signals be what they are without it."""
        signal.set_wakeup_fd(-1)
        self.readable.close()
        self._writable.close()


class GatewayConnection:
    """A stream of frames to and from the gateway."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque()
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)
        self._poll = select.poll()
        self._pauses = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S)
        self._again_at = 0.0

    def connect(self) -> None:
        """Raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._decoder = Decoder()
        self._frames.clear()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._pauses.reset()

    def connect_again(self, now: float) -> float | None:
        """Try, if it is time to. Returns when to try next (time.monotonic); None when it is connected."""
        if now >= self._again_at:
            self.close()
            try:
                self.connect()
            except OSError:
                self._again_at = now + self._pauses.next()
            else:
                return None
        return self._again_at

    def fileno(self) -> int:
        """Of the socket; -1 for none."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def send(self, frame: Frame) -> None:
        """Write a frame, which may wait for the gateway. Raises GatewayLost."""
        self.write(encode(frame))

    def write(self, data: bytes) -> None:
        """Write an encoded frame, which may wait for the gateway. Raises GatewayLost."""
        if self._socket is None:
            raise GatewayLost("not connected")
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise GatewayLost(f"gateway {self._path}: {error}") from None

    def next(self) -> Frame:
        """Wait for a frame. Raises GatewayLost."""
        while not self._frames:
            self.read()
        return self._frames.popleft()

    def put_back(self, frames: deque[Frame]) -> None:
        """Let `next` give these first."""
        self._frames.extendleft(reversed(frames))

    def arrived(self) -> deque[Frame]:
        """The frames that are here, without waiting, to be looked at. Raises GatewayLost."""
        # Not all that the socket has: what a streamed request's body still sends is to wait there.
        if self._poll.poll(0) and len(self._frames) < _LOOKED_AT:
            self.read()
        return self._frames

    def close(self) -> None:
        """Close it, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def pending(self) -> bool:
        """Whether a frame is here that `next` gives without waiting."""
        return bool(self._frames)

    def read(self, *, last: bool = False) -> bool:
        """Take what the socket has, and wait for something. Raises GatewayLost.

        Returns False at the end of what was sent, which `last` says is no loss of the gateway.
        """
        if self._socket is None:
            raise GatewayLost("not connected")
        try:
            size = self._socket.recv_into(self._buffer)
            if not size:
                if last:
                    return False
                raise GatewayLost("the gateway closed the connection")
            self._frames.extend(self._decoder.feed(self._view[:size]))
        except (OSError, WorkerProtocolError) as error:
            raise GatewayLost(f"gateway {self._path}: {error}") from None
        return True

    def take_no_more(self) -> None:
        """Let the gateway's further frames fail; those that it has sent are still here to be read."""
        if self._socket is not None:
            with suppress(OSError):  # the gateway has gone, which `read` will say
                self._socket.shutdown(socket.SHUT_RD)


def complain(what: str) -> None:
    """Say it on the component's output."""
    print(what, file=sys.stderr, flush=True)
