"""The open-loop load of a run: cameras that send frames to the application, and HTTP requests over kept connections.

Every request has an intended start time that nothing postpones, and is sent once. ``python -m
experiments.migration.load FILE`` takes its configuration as JSON and writes a row for each request as soon as its
outcome is known.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from apps.frames import Camera
from experiments.migration.calling import Rows, call_http, call_udp, poisson_times
from hitless.client.asynchronous import Client
from hitless.client.discovery import follow_endpoints
from hitless.client.endpoints import Endpoints
from hitless.mqtt.broker import BrokerSettings

FLUSH_S = 0.1
HTTP_CLIENT = 0
FRAMES_OF_A_CAMERA = 8
WIDTH, HEIGHT = 208, 156
"""Of a frame, in pixels: small, so that many can be sent; a face is found in each all the same."""
FIRST_ENDPOINT_S = 20.0


def camera_times(start_ns: int, duration_s: float, rate: float, phase: float) -> Iterator[int]:
    """The intended starts of a camera: ``rate`` a second, ``phase`` (0 to 1) of an interval after the start, in ns."""
    interval = 1e9 / rate
    for number in range(int(duration_s * rate)):
        yield start_ns + int((number + phase) * interval)


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
        self.ending = False

    async def run(self) -> None:
        """Learn the endpoints, send everything at its time, wait for the last answer or its loss.

        After SIGTERM nothing more is sent.
        """
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
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

    def _end(self) -> None:
        self.ending = True

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
        films = [Camera(seed * 1000 + camera, WIDTH, HEIGHT) for camera in range(cameras)]
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
                    if self.ending:
                        break
                    if who < 0:
                        tasks.create_task(self._call(session, number, at))
                    else:
                        picture = pictures[who][number % FRAMES_OF_A_CAMERA]
                        tasks.create_task(self._send_frame(clients[who], picture, at))

    def _answered_again(self, header: Any, _: object) -> None:
        self.rows.answers[header.client_id, header.request_id] += 1

    async def _send_frame(self, client: Client, frame: bytes, intended_ns: int) -> None:
        self.rows.add((await call_udp(client, self.application, frame, intended_ns, self.patience_s)).request)

    async def _call(self, session: aiohttp.ClientSession, number: int, intended_ns: int) -> None:
        endpoint = self.endpoints.current(self.http_service)
        url = f"http://{endpoint.address}:{endpoint.port}/?width=64"
        outcome = await call_http(session, self.http_service, url, HTTP_CLIENT, number, intended_ns, self.patience_s)
        self.rows.add(outcome.request)


def main() -> None:
    """Run the load that the configuration file describes."""
    configuration = json.loads(Path(sys.argv[1]).read_text())
    with Path(configuration["rows"]).open("w", newline="") as file:
        uvloop.run(Load(configuration, Rows(file)).run())


if __name__ == "__main__":
    main()
