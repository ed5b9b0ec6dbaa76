"""Cancellation that Python 3.11 or a library on it would swallow."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def raise_if_cancelled() -> None:
    """Raise the CancelledError that the running task should have got.

    Libraries lose cancellations: asyncio.wait_for before Python 3.12 does when what it waits for is just done (CPython
    issue 86296), and grpc.aio cancels whoever reads a stream to say that the stream has ended. Call this after such a
    call in a loop that must end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run all at once until one ends; end the others, and raise what that one raised.

    Not a task group: until Python 3.13 one whose task fails while it is cancelled forgets the cancellation.
    """
    tasks = {asyncio.create_task(work) for work in works}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
