"""A request's body as a handler reads it, where the function takes bodies as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hitless.runtime.gateway import GatewayConnection
from hitless.wire.worker_frames import Body, Cancel, Frame


class WholeBody:
    """A body that came whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; the rest for a negative size. Empty at the end."""
        end = len(self._data) if size < 0 else self._at + size
        data = self._data[self._at : end]
        self._at += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        if data := self.read():
            yield data


class BodyStream:
    """A body that arrives while the handler runs.

    Reading raises ConnectionAbortedError when the client has gone, GatewayLost when the gateway has.
    """

    def __init__(self, gateway: GatewayConnection, number: int) -> None:
        self._gateway = gateway
        self._number = number
        self._data = b""
        self._complete = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as soon as there are any; all that comes for a negative size. Empty at the end."""
        if size < 0:
            return b"".join(self)
        if size == 0:
            return b""
        if not self._data:
            self._data = self._next()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def __iter__(self) -> Iterator[bytes]:
        """The parts, as they come."""
        while data := self._data or self._next():
            self._data = b""
            yield data

    def _next(self) -> bytes:
        others: deque[Frame] = deque()
        try:
            while not self._complete:
                match self._gateway.next():
                    case Body(number, last, data) if number == self._number:
                        self._complete = last
                        if data:
                            return data
                    case Cancel(number) if number == self._number:
                        self._complete = True
                        raise ConnectionAbortedError("the client has gone: the rest of its request will not come")
                    case other:
                        others.append(other)
            return b""
        finally:
            self._gateway.put_back(others)
