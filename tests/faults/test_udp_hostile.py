"""Hostile datagrams of seven kinds against a gateway that serves others: they cost their sender, and nobody else.

`HOSTILE` says how many (`make fuzz`: a million), `HOSTILE_RATE` how many a second.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from experiments.bench.goodput import SENDER
from experiments.native.compiling import compile_program
from hitless import Client, Endpoints
from tests.agent.gateway import SERVICE_ID, Gateway, running_gateway
from tests.patience import PATIENCE

COUNT = int(os.environ.get("HOSTILE", "100000"))
RATE = int(os.environ.get("HOSTILE_RATE", "25000"))
GROWTH = 128 << 20
"""Bytes by which the gateway may grow: what it keeps of requests, answers and clients is bounded by less in all."""
GOOD_RATE = 200
"""Requests a second of the good client."""
FUNCTION = """
import base64
from collections import Counter

executed = Counter()

def lambda_handler(event, context):
    body = base64.b64decode(event.get("body", "")) if event["isBase64Encoded"] else event.get("body", "").encode()
    if body == b"big":
        body = bytes(1_000_000)
    elif body == b"most":
        body = str(max(executed.values())).encode()[::-1]
    elif len(body) > 3:
        executed[body] += 1
    return {"statusCode": 200, "body": base64.b64encode(body[::-1]).decode(), "isBase64Encoded": True}
"""


def resident(gateway: Gateway) -> int:
    """Bytes of memory that the gateway's process holds."""
    pages = int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def call(client: Client, number: int) -> bool:
    """A good request, every other one of several fragments; whether it was answered with its own result."""
    payload = f"good {number}.".encode() * (1 if number & 1 else 400)
    response = await client.invoke("echo", payload, PATIENCE)
    return response.result() == payload[::-1]


async def load_until(client: Client, ended: asyncio.Event | None, seconds: float, first: int) -> list[bool]:
    """Good requests at a steady rate until the event, or for so many seconds."""
    start, calls = time.monotonic(), []
    while not ended.is_set() if ended is not None else time.monotonic() < start + seconds:
        calls.append(asyncio.create_task(call(client, first + len(calls))))
        await asyncio.sleep(max(0.0, start + len(calls) / GOOD_RATE - time.monotonic()))
    return await asyncio.gather(*calls)


async def under_flood(gateway: Gateway, sender: Path) -> tuple[list[bool], int, bytes]:
    """What the good client got, the largest that the gateway was, and how often any good request was executed."""
    async with Client(Endpoints({"echo": SERVICE_ID}, {"echo": ("127.0.0.1", gateway.port)})) as client:
        assert all(await load_until(client, None, 0.5, 1_000_000))
        arguments = ["127.0.0.66", "127.0.0.1", gateway.port, SERVICE_ID, COUNT, RATE]
        flood = await asyncio.create_subprocess_exec(str(sender), *map(str, arguments))
        ended = asyncio.Event()
        largest = 0

        async def watch() -> None:
            nonlocal largest
            while flood.returncode is None:
                largest = max(largest, resident(gateway))
                await asyncio.sleep(0.05)
            ended.set()

        watching = asyncio.create_task(watch())
        answers = await load_until(client, ended, 0, 0)
        await watching
        assert flood.returncode == 0
        most = (await client.invoke("echo", b"most", PATIENCE)).result()
        return answers, largest, most


@pytest.mark.timeout(120 + 2 * COUNT // RATE)
def test_hostile_datagrams_cost_no_good_request_and_no_memory(tmp_path: Path) -> None:
    sender = compile_program(tmp_path, "hostile_sender", SENDER)
    with running_gateway(FUNCTION) as gateway:
        gateway.configure(queue_limit=10_000)
        gateway.serve()
        before = resident(gateway)
        answers, largest, most = asyncio.run(under_flood(gateway, sender))
        assert len(answers) > 0.3 * GOOD_RATE * COUNT / RATE
        assert all(answers)
        assert most == b"1", "each good request was executed once"
        assert largest - before < GROWTH
        assert gateway.said().count("malformed datagrams dropped") <= 2 + COUNT / RATE / 60
