"""Cancellation that a library has swallowed."""

import asyncio


def raise_if_cancelled() -> None:
    """Raise the CancelledError that the running task should have got.

    Before Python 3.12, asyncio.wait_for loses a cancellation that comes when what it waits for is just done (CPython
    issue 86296). aiomqtt awaits every publish and subscribe with it: call this after them in a loop that must end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
