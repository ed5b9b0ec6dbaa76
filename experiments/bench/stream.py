"""One TCP connection as fast as it goes: `stream.py take ADDRESS`, `stream.py give ADDRESS SECONDS`.

The taker answers with the number of bytes that it got, so that what waits in buffers is not counted; the giver prints
bits a second.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

PORT = 5000
PART = bytes(1 << 20)
CONNECT_S, ANSWER_S = 20.0, 30.0


def take(address: str) -> None:
    """Serve one connection after the other, for ever."""
    buffer = bytearray(len(PART))
    with socket.create_server((address, PORT)) as listening:
        while True:
            connection, _ = listening.accept()
            with connection:
                total = 0
                while count := connection.recv_into(buffer):
                    total += count
                connection.sendall(struct.pack(">Q", total))


def give(address: str, seconds: float) -> float:
    """Bits a second that arrived. Raises OSError where nothing does."""
    with _connected(address) as connection:
        connection.settimeout(ANSWER_S)
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            connection.sendall(PART)
        connection.shutdown(socket.SHUT_WR)
        total: int = struct.unpack(">Q", connection.recv(8, socket.MSG_WAITALL))[0]
        return total * 8 / (time.monotonic() - begin)


def _connected(address: str) -> socket.socket:
    """The taker, and the switch on the way to it, may still be starting."""
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            return socket.create_connection((address, PORT), timeout=1.0)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "take":
        take(sys.argv[2])
    print(give(sys.argv[2], float(sys.argv[3])))
