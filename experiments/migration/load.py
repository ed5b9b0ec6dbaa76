"""The open-loop load of a run: cameras that send frames to the application, and HTTP requests over kept connections.

Every request has an intended start time that nothing postpones, and is sent once. ``python -m
experiments.migration.load FILE`` takes its configuration as JSON and writes a row for each request as soon as its
outcome is known.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import heapq
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import uvloop

from apps.frames import Camera
from experiments.migration.records import FAILED, LOST, OK, REQUEST_COLUMNS, Request, request_row
from greengrass_agent.gateway.http.answers import NODE_HEADER
from greengrass_agent.gateway.http.exchange import REQUEST_HEADER
from hitless.client.asynchronous import Client
from hitless.client.discovery import follow_endpoints
from hitless.client.endpoints import Endpoints
from hitless.mqtt.broker import BrokerSettings
from hitless.wire.calls import DeadlineExceeded

FLUSH_S = 0.1
HTTP_CLIENT = 0
FRAMES_OF_A_CAMERA = 8
FIRST_ENDPOINT_S = 20.0


class Rows:
    """The rows of finished requests, written in batches."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)
        self._file = file
        self._writer.writerow(REQUEST_COLUMNS)
        self._waiting: list[Request] = []
        self.answers: Counter[tuple[int, int]] = Counter()

    def add(self, request: Request) -> None:
        """Take a finished request."""
        self._waiting.append(request)

    def flush(self, *, finished_before_ns: int) -> None:
        """Write the requests that were sent long enough ago for a second answer to have shown itself."""
        ready = [one for one in self._waiting if one.sent_ns < finished_before_ns]
        self._waiting = [one for one in self._waiting if one.sent_ns >= finished_before_ns]
        for one in ready:
            extra = self.answers.pop((one.client, one.id), 0)
            self._writer.writerow([*request_row(one)[:-1], one.answers + extra])
        self._file.flush()


def camera_times(start_ns: int, duration_s: float, rate: float, phase: float) -> Iterator[int]:
    """The intended starts of a camera: ``rate`` a second, ``phase`` (0 to 1) of an interval after the start, in ns."""
    interval = 1e9 / rate
    for number in range(int(duration_s * rate)):
        yield start_ns + int((number + phase) * interval)


def poisson_times(start_ns: int, duration_s: float, rate: float, chance: random.Random) -> Iterator[int]:
    """The intended starts of independent callers: exponential gaps, ``rate`` a second on average, in ns; 0: none."""
    if rate == 0:
        return
    at = chance.expovariate(rate)
    while at < duration_s:
        yield start_ns + int(at * 1e9)
        at += chance.expovariate(rate)


class Load:
    """One run of the load generator."""

    def __init__(self, configuration: dict[str, Any], rows: Rows) -> None:
        self.options = configuration
        self.rows = rows
        self.application = configuration["application"]["name"]
        self.http_service = configuration["http"]["name"]
        self.patience_s = float(configuration["loss_timeout_s"])
        self.chance = random.Random(configuration["seed"])
        self.endpoints = Endpoints(
            {
                self.application: configuration["application"]["service_id"],
                self.http_service: configuration["http"]["service_id"],
            }
        )
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Learn the endpoints, send everything at its time, wait for the last answer or its loss."""
        following = asyncio.create_task(
            follow_endpoints(
                self.endpoints, BrokerSettings(**self.options["broker"]), on_change=lambda *_: self._learned()
            )
        )
        flushing = asyncio.create_task(self._flush())
        try:
            await asyncio.wait_for(self.known.wait(), FIRST_ENDPOINT_S)
            await self._send_all()
        finally:
            following.cancel()
            flushing.cancel()
            self.rows.flush(finished_before_ns=2**63)

    def _learned(self) -> None:
        if all(self.endpoints.latest(service) is not None for service in self.endpoints.services):
            self.known.set()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.rows.flush(finished_before_ns=time.monotonic_ns())

    async def _send_all(self) -> None:
        cameras, rate = self.options["cameras"], self.options["frames_per_second"]
        duration, seed = self.options["duration_s"], self.options["seed"]
        films = [Camera(seed * 1000 + camera) for camera in range(cameras)]
        pictures = [[film.frame(number) for number in range(FRAMES_OF_A_CAMERA)] for film in films]
        clients = [Client(self.endpoints, on_stray=self._answered_again) for _ in range(cameras)]
        start_ns = time.monotonic_ns() + 200_000_000
        plan = [
            ((at, camera) for at in camera_times(start_ns, duration, rate, (camera + self.chance.random()) / cameras))
            for camera in range(cameras)
        ]
        calls = ((at, -1) for at in poisson_times(start_ns, duration, self.options["http_per_second"], self.chance))
        # A collection stops the world for longer than a request takes.
        gc.freeze()
        gc.disable()
        connector = aiohttp.TCPConnector(limit=4)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            for client in clients:
                await stack.enter_async_context(client)
            async with asyncio.TaskGroup() as tasks:
                for number, (at, who) in enumerate(heapq.merge(*plan, calls)):
                    await asyncio.sleep(max(0.0, (at - time.monotonic_ns()) / 1e9))
                    if who < 0:
                        tasks.create_task(self._call(session, number, at))
                    else:
                        picture = pictures[who][number % FRAMES_OF_A_CAMERA]
                        tasks.create_task(self._send_frame(clients[who], picture, at))

    def _answered_again(self, header: Any, _: object) -> None:
        self.rows.answers[header.client_id, header.request_id] += 1

    async def _send_frame(self, client: Client, frame: bytes, intended_ns: int) -> None:
        try:
            answer = await client.invoke(self.application, frame, self.patience_s)
        except DeadlineExceeded as lost:
            number, sent_ns, received_ns, outcome = lost.request_id, lost.sent_ns, None, LOST
        else:
            number, sent_ns, received_ns = answer.request_id, answer.sent_ns, answer.received_ns
            outcome = FAILED if answer.failed or answer.status >= 400 else OK
        answers = int(received_ns is not None)
        self.rows.add(
            Request(
                number, client.client_id, self.application, intended_ns, sent_ns, received_ns, None, outcome, answers
            )
        )

    async def _call(self, session: aiohttp.ClientSession, number: int, intended_ns: int) -> None:
        endpoint = self.endpoints.current(self.http_service)
        url = f"http://{endpoint.address}:{endpoint.port}/?width=64"
        sent_ns = time.monotonic_ns()
        received_ns, node, outcome = None, None, LOST
        try:
            # POST, because aiohttp sends a GET again where its kept connection has died, and a request is sent once.
            async with session.post(
                url, headers={REQUEST_HEADER: str(number)}, timeout=aiohttp.ClientTimeout(total=self.patience_s)
            ) as answer:
                await answer.read()
                received_ns, node = time.monotonic_ns(), answer.headers.get(NODE_HEADER)
                outcome = OK if answer.status < 400 else FAILED
        except TimeoutError:
            pass
        except aiohttp.ClientError as error:
            print(f"HTTP request {number}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            received_ns, outcome = time.monotonic_ns(), FAILED
        self.rows.add(
            Request(
                number,
                HTTP_CLIENT,
                self.http_service,
                intended_ns,
                sent_ns,
                received_ns,
                node,
                outcome,
                int(received_ns is not None),
            )
        )


def main() -> None:
    """Run the load that the configuration file describes."""
    configuration = json.loads(Path(sys.argv[1]).read_text())
    with Path(configuration["rows"]).open("w", newline="") as file:
        uvloop.run(Load(configuration, Rows(file)).run())


if __name__ == "__main__":
    main()
