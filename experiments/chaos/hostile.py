"""A client that means harm: datagrams or connections of ten kinds each, at random, from a seed, until SIGTERM.

``python -m experiments.chaos.hostile udp|tcp ADDRESS PORT SERVICE_ID SEED PER_SECOND`` says at its end how
many it sent.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from hitless.wire.invocation import HEADER_SIZE, Message, fragments
from hitless.wire.layout import offset
from hitless.words import INVOCATION_LAYOUT, InvocationType

BURST = 10
"""Datagrams sent at a time."""
OPEN_AT_ONCE = 400
"""Connections that one client leaves open; the oldest goes for the next."""


def datagram_kinds(service_id: int) -> tuple[Callable[[random.Random], bytes], ...]:
    """Ten kinds of datagram. None of them is a request that could be executed."""
    bits = dict(INVOCATION_LAYOUT)

    def changed(payload: int = 4000, **values: int | None) -> Callable[[random.Random], bytes]:
        """The first fragment of a request with these fields in place of its own; None is a number at random."""

        def make(chance: random.Random) -> bytes:
            client, number = chance.getrandbits(32), chance.getrandbits(64)
            message = Message(InvocationType.REQUEST, service_id, client, number, bytes(payload))
            datagram = bytearray(fragments(message)[0])
            for name, value in values.items():
                at, size = offset(INVOCATION_LAYOUT, name), bits[name] // 8
                other = chance.getrandbits(bits[name]) if value is None else value
                datagram[at : at + size] = other.to_bytes(size, "big")
            return bytes(datagram)

        return make

    begun = changed()
    return (
        lambda chance: chance.randbytes(chance.randrange(1, 1400)),
        lambda chance: begun(chance)[: chance.randrange(1, HEADER_SIZE)],
        begun,  # the first of three fragments, and no other
        changed(payload=1, fragment_count=65535, total_length=65535),  # 65,534 more are to come
        changed(fragment_index=None),
        changed(total_length=2**32 - 1),
        changed(magic=None),
        changed(version=None),
        changed(type=None),
        changed(service_id=None),
    )


def connection_kinds() -> tuple[bytes, ...]:
    """What ten kinds of connection say; nobody waits for an answer, and nothing more follows."""
    return (
        b"",
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    )


async def datagrams(where: tuple[str, int], service_id: int, chance: random.Random, per_second: float) -> int:
    """Send until cancelled; returns how many."""
    kinds, sent = datagram_kinds(service_id), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with suppress(asyncio.CancelledError):
            while True:
                for _ in range(BURST):
                    with suppress(OSError):
                        sock.sendto(chance.choice(kinds)(chance), where)
                        sent += 1
                await asyncio.sleep(BURST / per_second)
    return sent


async def connections(where: tuple[str, int], chance: random.Random, per_second: float) -> int:
    """Connect until cancelled; returns how often."""
    kinds, made = connection_kinds(), 0
    open_ones: deque[asyncio.StreamWriter] = deque()
    with suppress(asyncio.CancelledError):
        while True:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    _, writer = await asyncio.open_connection(*where)
                made += 1
                open_ones.append(writer)
                writer.write(chance.choice(kinds))
            if len(open_ones) > OPEN_AT_ONCE:
                open_ones.popleft().transport.abort()
            await asyncio.sleep(1 / per_second)
    for writer in open_ones:
        writer.transport.abort()
    return made


async def run(protocol: str, where: tuple[str, int], service_id: int, seed: int, per_second: float) -> None:
    """Do harm until SIGTERM."""
    chance = random.Random(seed)
    work = asyncio.create_task(
        datagrams(where, service_id, chance, per_second)
        if protocol == "udp"
        else connections(where, chance, per_second)
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    print(f"{await work} of {protocol}", flush=True)


def main() -> None:
    """Take the command line."""
    protocol, address, port, service_id, seed, per_second = sys.argv[1:]
    asyncio.run(run(protocol, (address, int(port)), int(service_id), int(seed), float(per_second)))


if __name__ == "__main__":
    main()
