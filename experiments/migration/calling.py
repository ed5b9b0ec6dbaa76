"""One call of an open-loop load, sent once at its intended time, and the rows of those that have ended."""

from __future__ import annotations

import csv
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import aiohttp

from experiments.migration.records import FAILED, LOST, OK, REQUEST_COLUMNS, Request, request_row
from greengrass_agent.gateway.http.answers import NODE_HEADER
from greengrass_agent.gateway.http.exchange import CLIENT_HEADER, REQUEST_HEADER
from hitless.client.asynchronous import Client
from hitless.wire.calls import DeadlineExceeded


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


def poisson_times(start_ns: int, duration_s: float, rate: float, chance: random.Random) -> Iterator[int]:
    """The intended starts of independent callers: exponential gaps, ``rate`` a second on average, in ns; 0: none."""
    if rate == 0:
        return
    at = chance.expovariate(rate)
    while at < duration_s:
        yield start_ns + int(at * 1e9)
        at += chance.expovariate(rate)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that has ended, and what was answered: empty without an answer."""

    request: Request
    answer: bytes


async def call_udp(client: Client, service: str, payload: bytes, intended_ns: int, patience_s: float) -> Called:
    """Call a service by the invocation protocol; it is lost without an answer for `patience_s`."""
    payload_back = b""
    try:
        answer = await client.invoke(service, payload, patience_s)
    except DeadlineExceeded as lost:
        number, sent_ns, received_ns, outcome = lost.request_id, lost.sent_ns, None, LOST
    else:
        number, sent_ns, received_ns = answer.request_id, answer.sent_ns, answer.received_ns
        outcome, payload_back = FAILED if answer.failed or answer.status >= 400 else OK, answer.payload
    answers = int(received_ns is not None)
    request = Request(number, client.client_id, service, intended_ns, sent_ns, received_ns, None, outcome, answers)
    return Called(request, payload_back)


async def call_http(
    session: aiohttp.ClientSession,
    service: str,
    url: str,
    client_id: int,
    number: int,
    intended_ns: int,
    patience_s: float,
) -> Called:
    """Call a service over HTTP; it is lost without an answer for `patience_s`."""
    sent_ns = time.monotonic_ns()
    received_ns, node, outcome, body = None, None, LOST, b""
    try:
        # POST, because aiohttp sends a GET again where its kept connection has died, and a request is sent once.
        async with session.post(
            url,
            headers={REQUEST_HEADER: str(number), CLIENT_HEADER: str(client_id)},
            timeout=aiohttp.ClientTimeout(total=patience_s),
        ) as answer:
            body = await answer.read()
            received_ns, node = time.monotonic_ns(), answer.headers.get(NODE_HEADER)
            outcome = OK if answer.status < 400 else FAILED
    except TimeoutError:
        pass
    except aiohttp.ClientError as error:
        print(f"HTTP request {number}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        received_ns, outcome = time.monotonic_ns(), FAILED
    answers = int(received_ns is not None)
    return Called(Request(number, client_id, service, intended_ns, sent_ns, received_ns, node, outcome, answers), body)
