"""How tests deal with time on a machine that others use too."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 60.0
"""Seconds that a test waits for what normally comes at once: only what is broken ever takes so long."""
POLL_S = 0.005


def until(condition: Callable[[], Any], what: str, *, within: float = PATIENCE) -> Any:
    """Wait for a truthy value and return it; after `within` seconds the test fails, naming `what` it waited for."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(POLL_S)
    return value


async def until_async(condition: Callable[[], Any | Awaitable[Any]], what: str, *, within: float = PATIENCE) -> Any:
    """The same in an event loop, where the condition may be a coroutine."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(POLL_S)


def quickest(measure: Callable[[], float], below: float, tries: int = 5) -> float:
    """The least that a measurement of seconds comes to, repeated only until it is `below`.

    A machine that is busy for a moment makes one of them long, code that is slow makes all of them long.
    """
    least = measure()
    for _ in range(tries - 1):
        if least < below:
            break
        least = min(least, measure())
    return least
