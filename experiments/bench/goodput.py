"""What hostile datagrams cost a function's own clients: answers a second, beside the same flood at another port.

The machine has the flood to carry either way, so that the ratio tells what the gateway makes of it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from experiments.bench.gateway import PORT, SERVICE_ID, running_gateway
from experiments.native.compiling import compile_program
from hitless import Client, Endpoints

SENDER = Path(__file__).with_name("hostile_sender.c")
CALLERS = 32
"""Each asks again when it has its answer, so that the gateway has all the work that it can take."""
RATES = (25_000, 150_000)
"""Hostile datagrams a second."""
HERE, ELSEWHERE = "here", "elsewhere"
HOST, ATTACKER = "127.0.0.1", "127.0.0.66"
ANSWER_S = 10.0

Round = Mapping[str, float]
"""Answers a second under a flood, by where that goes to."""


def bench_goodput(rounds: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Flood the gateway and another port in alternation; the part of the summary about it.

    Raises OSError, CompilationFailed, and hitless.CallError for an own client's request that was not answered.
    """
    port = PORT + 3
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-goodput-")))
        sender = compile_program(scratch, "hostile_sender", SENDER)
        stack.enter_context(running_gateway(scratch, port, "udp"))
        other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        other.bind((HOST, 0))  # nobody reads it: what does not fit in is dropped, as at the gateway's
        ports = {ELSEWHERE: other.getsockname()[1], HERE: port}
        asyncio.run(_answers(port, seconds))
        done: dict[int, list[Round]] = {rate: [] for rate in RATES}
        for number in range(rounds):
            for rate in RATES:
                one = {}
                for where in (ELSEWHERE, HERE) if number & 1 else (HERE, ELSEWHERE):
                    with _flood(sender, ports[where], rate, seconds):
                        one[where] = asyncio.run(_answers(port, seconds))
                done[rate].append(one)
                tell(
                    f"goodput, round {number + 1} of {rounds}, {rate:,} hostile/s: "
                    f"{one[HERE]:.0f}/s, {one[ELSEWHERE]:.0f}/s with the flood elsewhere"
                )
    return summary(done)


def summary(rounds: Mapping[int, Sequence[Round]]) -> dict[str, Any]:
    """Medians of the rounds' ratios by rate, and the worst round beside."""
    ratios = {}
    for rate, done in rounds.items():
        found = [one[HERE] / one[ELSEWHERE] for one in done]
        ratios[f"goodput_under_{rate}"] = round(median(found), 3)
        ratios[f"goodput_under_{rate}_worst"] = round(min(found), 3)
    return {"ratios": ratios, "rounds": {str(rate): [dict(one) for one in done] for rate, done in rounds.items()}}


async def _answers(port: int, seconds: float) -> float:
    """Answers a second that the callers get in so many seconds."""
    answers = 0

    async def ask(client: Client, end: float) -> None:
        nonlocal answers
        while time.monotonic() < end:
            (await client.invoke("trivial", b"x", ANSWER_S)).result()
            answers += 1

    async with Client(Endpoints({"trivial": SERVICE_ID}, {"trivial": (HOST, port)})) as client:
        begin = time.monotonic()
        await asyncio.gather(*(ask(client, begin + seconds) for _ in range(CALLERS)))
        return answers / (time.monotonic() - begin)


@contextmanager
def _flood(sender: Path, port: int, rate: int, seconds: float) -> Iterator[None]:
    """Hostile datagrams to a port, for the block; it has no more of them than fit in twice the time."""
    count = round(2 * rate * seconds)
    command = [str(sender), ATTACKER, HOST, str(port), str(SERVICE_ID), str(count), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
