"""Thrift's binary protocol over a socket, with a bound on what one call may bring."""

from __future__ import annotations

import socket
from typing import Any

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import TBufferedTransport, TTransportBase


class EndOfCalls(Exception):
    """The client has closed the connection."""


class Connection(TTransportBase):  # type: ignore[misc]  # the library has no types
    """A client's. `protocol` is what BMv2's clients speak, binary, buffered and not framed; the library reads and
    writes through the other methods."""

    def __init__(self, connection: socket.socket, max_call: int) -> None:
        self._connection = connection
        self._max_call = max_call
        self._left = max_call
        # strict: else any four bytes are the length of a name, which is then waited for
        self.protocol: Any = TBinaryProtocolAccelerated(
            TBufferedTransport(self), strictRead=True, string_length_limit=max_call, container_length_limit=max_call
        )

    def begin_call(self) -> None:
        """The bound holds anew."""
        self._left = self._max_call

    def read(self, size: int) -> bytes:
        """At least a byte, at most `size`. Raises EndOfCalls, ValueError for a call that is too long."""
        if self._left <= 0:
            raise ValueError(f"a call has more than {self._max_call} bytes")
        try:
            data = self._connection.recv(min(size, self._left))
        except OSError as error:
            raise EndOfCalls(str(error)) from error
        if not data:
            raise EndOfCalls("end of file")
        self._left -= len(data)
        return data

    def write(self, data: bytes) -> None:
        """Raises EndOfCalls."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise EndOfCalls(str(error)) from error

    def flush(self) -> None:
        """All is sent already."""
