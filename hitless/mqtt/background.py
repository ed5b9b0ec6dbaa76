"""A session for a program whose own loop must not wait for anything: it runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress

from hitless.mqtt.client import Publication
from hitless.mqtt.session import DISCONNECT_TIMEOUT_S, Session

HANDED_OVER = 64
"""Publications that wait for the thread at most; older ones are dropped."""


class BackgroundSession:
    """Runs a session until it is closed. Its handlers are called in the thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handed_over: deque[Publication] = deque(maxlen=HANDED_OVER)
        self._woken = False
        """Whether the thread knows that there is something to take."""
        self._closed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether messages reach the broker now."""
        return self._session.connected

    def publish(self, publication: Publication) -> None:
        """Hand a message over, in some microseconds; it is dropped without a session or behind one that is stuck."""
        self._handed_over.append(publication)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._take)

    def close(self) -> None:
        """End the session and the thread; without an answer this takes `DISCONNECT_TIMEOUT_S`."""
        with suppress(RuntimeError):  # the thread has ended by itself
            self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(DISCONNECT_TIMEOUT_S)

    def _take(self) -> None:
        self._woken = False  # before the taking, so that what comes after it is told again
        while self._handed_over:
            self._session.publish(self._handed_over.popleft())

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        running = asyncio.create_task(self._session.run())
        closed = asyncio.create_task(self._closed.wait())
        await asyncio.wait((running, closed), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
