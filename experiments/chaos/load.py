"""The load of a chaos run: open loop, to one service over UDP and one over kept HTTP connections, until SIGTERM.

``python -m experiments.chaos.load FILE`` takes its configuration as JSON (`Configuration`) and writes a row for each
request when its outcome is known, and a row for each version of a function when its first answer is here.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from heapq import merge
from itertools import repeat
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import uvloop

from experiments.migration.calling import Called, Rows, call_http, call_udp, poisson_times
from experiments.migration.records import OK
from hitless.client.asynchronous import Client
from hitless.client.endpoints import Endpoints

START_NS = 200_000_000
FLUSH_S = 0.2
SECOND_ANSWER_NS = 1_000_000_000
"""A request's row is written so long after its sending, so that a second answer has had time to show itself."""
CLIENTS = 4
CONNECTIONS = 8
CHANGES = ("service", "version", "sent_ns")
FOREVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Target:
    """A service as the load calls it."""

    name: str
    service_id: int
    address: str
    port: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the load is told."""

    rows: str
    """File of the requests."""
    changes: str
    """File of the first answer of each version."""
    seed: int
    patience_s: float
    """A request without an answer for so long is lost."""
    udp: Target
    http: Target
    connections: int = CONNECTIONS
    """Over HTTP, at once, at most; 0: as many as requests are under way. They are kept."""

    @classmethod
    def read(cls, text: str) -> Configuration:
        """From JSON."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "udp": Target(**values["udp"]), "http": Target(**values["http"])})


def times(configuration: Configuration, start_ns: int) -> Iterator[tuple[int, bool]]:
    """The intended starts after `start_ns` without end, in ns, each with whether it is a request over UDP."""
    chances = random.Random(configuration.seed), random.Random(configuration.seed + 1)
    udp = zip(poisson_times(start_ns, FOREVER_S, configuration.udp.per_second, chances[0]), repeat(True))
    http = zip(poisson_times(start_ns, FOREVER_S, configuration.http.per_second, chances[1]), repeat(False))
    return merge(udp, http)


class Load:
    """One run of the load."""

    def __init__(self, configuration: Configuration, rows: Rows, changes: TextIO) -> None:
        self._configuration = configuration
        self._rows = rows
        self._changes_file = changes
        self._changes = csv.writer(changes)
        self._changes.writerow(CHANGES)
        self._seen: set[tuple[str, bytes]] = set()

    async def run(self) -> None:
        """Send until SIGTERM, then wait for the last answers."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        flushing = asyncio.create_task(self._flush())
        try:
            await self._send(ended)
        finally:
            flushing.cancel()
            self._rows.flush(finished_before_ns=2**63)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._rows.flush(finished_before_ns=time.monotonic_ns() - SECOND_ANSWER_NS)

    async def _send(self, ended: asyncio.Event) -> None:
        udp = self._configuration.udp
        endpoints = Endpoints({udp.name: udp.service_id}, {udp.name: (udp.address, udp.port)})
        clients = [Client(endpoints, on_stray=self._answered_again) for _ in range(CLIENTS)]
        http_client = 1 + secrets.randbelow(2**32 - 1)
        # A collection stops the world for longer than a request takes.
        gc.freeze()
        gc.disable()
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=self._configuration.connections)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            for client in clients:
                await stack.enter_async_context(client)
            plan = times(self._configuration, time.monotonic_ns() + START_NS)
            async with asyncio.TaskGroup() as calls:
                for number, (at_ns, over_udp) in enumerate(plan, 1):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), max(0.0, (at_ns - time.monotonic_ns()) / 1e9))
                    if ended.is_set():
                        break
                    calls.create_task(
                        self._udp(clients[number % CLIENTS], at_ns)
                        if over_udp
                        else self._http(session, http_client, number, at_ns)
                    )

    def _answered_again(self, header: Any, _: object) -> None:
        self._rows.answers[header.client_id, header.request_id] += 1

    async def _udp(self, client: Client, at_ns: int) -> None:
        self._take(await call_udp(client, self._configuration.udp.name, b"", at_ns, self._configuration.patience_s))

    async def _http(self, session: aiohttp.ClientSession, client_id: int, number: int, at_ns: int) -> None:
        http = self._configuration.http
        url = f"http://{http.address}:{http.port}/"
        patience_s = self._configuration.patience_s
        self._take(await call_http(session, http.name, url, client_id, number, at_ns, patience_s))

    def _take(self, called: Called) -> None:
        request = called.request
        self._rows.add(request)
        first = (request.service, called.answer)
        if request.outcome == OK and first not in self._seen:
            self._seen.add(first)
            self._changes.writerow((request.service, called.answer.decode(errors="replace"), request.sent_ns))
            self._changes_file.flush()


def main() -> None:
    """Run the load that the configuration file describes."""
    configuration = Configuration.read(Path(sys.argv[1]).read_text())
    with (
        Path(configuration.rows).open("w", newline="") as rows,
        Path(configuration.changes).open("w", newline="") as changes,
    ):
        uvloop.run(Load(configuration, Rows(rows), changes).run())


if __name__ == "__main__":
    main()
