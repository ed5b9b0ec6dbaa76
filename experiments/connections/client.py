"""The client: connections that are kept, each with a request now and then, and downloads that take their time.

``python -m experiments.connections.client FILE`` takes its configuration as JSON (`Configuration`) and writes a row for
each request and each download when it has ended, until SIGTERM.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self, TextIO

import uvloop

from greengrass_agent.gateway.http.answers import NODE_HEADER

KEPT, DOWNLOAD = "kept", "download"
OK, RESET, FAILED, LOST = "ok", "reset", "failed", "lost"
"""Answered; the connection ended before that; answered with an error; no answer in time."""
BUFFER = 64 << 10
"""Bytes of a download that the client's side of the connection holds: the others are still to come."""
CHUNK = 16 << 10


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the client is told."""

    address: str
    port: int
    rows: str
    seed: int
    kept: int
    """Connections."""
    every_s: float
    """Between two requests of one, on average."""
    downloads: int
    """At a time."""
    size: int
    """Of one, in bytes."""
    bytes_a_second: float
    """That the client takes of one."""
    patience_s: float
    """A request without an answer for so long is lost."""

    @classmethod
    def read(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Row:
    """A request or a download. Times in ns of the machine's monotonic clock."""

    kind: str
    started_ns: int
    ended_ns: int
    node: str
    """That answered; empty if none did."""
    outcome: str
    opened: int
    """Whether a connection was opened for it."""


COLUMNS = tuple(field.name for field in fields(Row))
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """All of the connections."""

    def __init__(self, told: Configuration, file: TextIO) -> None:
        self._told, self._file = told, file
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Send until SIGTERM; what is under way then is left."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ended.set)
        chance = random.Random(self._told.seed)
        work: list[Coroutine[Any, Any, None]] = [
            self._keep(random.Random(chance.random())) for _ in range(self._told.kept)
        ]
        # They do not all begin at once, as they do not all end at once later.
        length_s = self._told.size / self._told.bytes_a_second
        work += [self._download(length_s * at / self._told.downloads) for at in range(self._told.downloads)]
        tasks = [asyncio.create_task(one) for one in work]
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # none of them ends by itself but by a mistake
            task.cancel()
        await asyncio.wait(tasks)

    def _row(self, row: Row) -> None:
        self._rows.writerow(astuple(row))
        self._file.flush()

    async def _open(self) -> Streams:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (self._told.address, self._told.port))
            return await asyncio.open_connection(sock=connection, limit=BUFFER)
        except BaseException:
            connection.close()
            raise

    async def _keep(self, chance: random.Random) -> None:
        streams: Streams | None = None
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * self._told.every_s)
            if streams is not None and streams[0].at_eof():
                # It was closed between two requests, which no client takes for an error.
                streams[1].close()
                streams = None
            row, streams = await self._request(KEPT, "/", streams, 0.0)
            self._row(row)

    async def _download(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while True:
            row, streams = await self._request(DOWNLOAD, f"/?bytes={self._told.size}", None, self._told.bytes_a_second)
            if streams is not None:
                streams[1].close()
            self._row(row)
            if row.outcome != OK:
                await asyncio.sleep(self._told.every_s)

    async def _request(
        self, kind: str, path: str, streams: Streams | None, bytes_a_second: float
    ) -> tuple[Row, Streams | None]:
        """One request, and the connection if it can be kept. `bytes_a_second`: 0 takes the answer as it comes."""
        started_ns, opened, node, outcome, kept = time.monotonic_ns(), streams is None, "", RESET, False
        try:
            async with asyncio.timeout(self._told.patience_s):
                streams = streams or await self._open()
                reader, writer = streams
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._told.address}\r\n\r\n".encode())
                status, headers = read_head(await reader.readuntil(b"\r\n\r\n"))
            node = headers.get(NODE_HEADER.lower(), "")
            await self._body(reader, int(headers.get("content-length", "0")), bytes_a_second)
            outcome, kept = (OK if status < 400 else FAILED), headers.get("connection", "").lower() != "close"
        except TimeoutError:
            outcome = LOST
        except (OSError, asyncio.IncompleteReadError):
            pass
        if not kept and streams is not None:
            streams[1].close()
        return Row(kind, started_ns, time.monotonic_ns(), node, outcome, int(opened)), streams if kept else None

    async def _body(self, reader: asyncio.StreamReader, size: int, bytes_a_second: float) -> None:
        began, taken = time.monotonic(), 0
        while taken < size:
            found = await reader.read(min(CHUNK, size - taken))
            if not found:
                raise asyncio.IncompleteReadError(b"", size - taken)
            taken += len(found)
            if bytes_a_second:
                await asyncio.sleep(max(0.0, began + taken / bytes_a_second - time.monotonic()))


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, names in lower case. Raises ConnectionError where it is none of HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise ConnectionError(f"expected an answer of HTTP, got {first[:80]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _run(told: Configuration, file: TextIO) -> None:
    await Client(told, file).run()


def main() -> None:
    """Run the client that the configuration file describes."""
    told = Configuration.read(Path(sys.argv[1]).read_text())
    with Path(told.rows).open("w", newline="") as file:
        uvloop.run(_run(told, file))


if __name__ == "__main__":
    main()
