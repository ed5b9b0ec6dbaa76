"""Writing on the side: a thread writes, and whoever has something to write neither waits nor fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from greengrass_agent.logs.trouble import SETTLED_S, Trouble
from hitless.backoff import Backoff

QUEUED = 1 << 20
"""Bytes that wait to be written at most."""
BATCH = 1 << 18
PAUSE_S = 0.1
"""How long what has come may wait for more, to be written together."""
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
CLOSE_S = 2.0


class Sink(Protocol):
    """Where a writer writes."""

    def write(self, data: bytes) -> int:
        """Write data, or a beginning of it that can stand alone; returns its length, not 0. Raises OSError."""

    def close(self) -> None:
        """Close what is open. Raises nothing."""


class BoundedWriter:
    """Takes bytes and hands them to a sink in a thread of its own.

    What the sink refuses is kept and tried again; what does not fit into the queue is dropped and counted. `tell` is
    given a sentence when dropping begins and one when it has ended; it may be called in the thread.
    """

    def __init__(
        self, what: str, sink: Sink, *, tell: Callable[[str], object], limit: int = QUEUED, pause_s: float = PAUSE_S
    ) -> None:
        """`what` is written, for the sentences. `limit` bounds the bytes that wait, `pause_s` how long at least."""
        self._sink = sink
        self._tell = tell
        self._limit = limit
        self._pause_s = pause_s
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        # Each count has one thread that changes it: nothing needs a lock, which a thread that waits might hold.
        self._taken = 0
        self._refused = 0
        self._settled = 0
        self._given_up = 0
        self._trouble = Trouble(what)
        self._trouble_lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Bytes that were not written and never will be."""
        return self._refused + self._given_up

    def add(self, data: bytes) -> bool:
        """Have data written some time soon; False when it was dropped. Called by one thread."""
        if self._taken - self._settled + len(data) > self._limit or self._ending.is_set():
            self.drop(data)
            return False
        self._taken += len(data)
        self._queue.put(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()
        return True

    def drop(self, data: bytes) -> None:
        """Count data that comes faster than is wanted. Called by the same thread as `add`."""
        self._refused += len(data)
        if not self._trouble.dropping:
            self._look(None)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Write what is there and close the sink; what cannot be written at once is dropped. Waits so long at most."""
        self._ending.set()
        if self._thread is None:
            self._sink.close()
            return
        self._queue.put(b"")  # wakes the thread
        self._thread.join(within_s)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._write(self._next())
            while batch := self._whatever_came(b""):
                self._write(batch)
        finally:
            self._sink.close()
            if (sentence := self._trouble.end(self.dropped)) is not None:
                self._tell(sentence)

    def _next(self) -> bytes:
        """What has come, when something has; nothing when there is reason to look at the trouble."""
        try:
            first = self._queue.get(timeout=SETTLED_S if self._trouble.dropping else None)
        except Empty:
            self._look(None)
            return b""
        self._ending.wait(self._pause_s)
        return self._whatever_came(first)

    def _whatever_came(self, first: bytes) -> bytes:
        batch, size = [first], len(first)
        while size < BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except Empty:
                break
            size += len(batch[-1])
        return b"".join(batch)

    def _write(self, data: bytes) -> None:
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        while data:
            try:
                written = self._sink.write(data)
            except OSError as error:
                self._look(error.strerror or str(error))
                if self._ending.wait(backoff.next()):
                    self._given_up += len(data)
                    self._settled += len(data)
                    return
            else:
                data = data[written:]
                self._settled += written
                backoff.reset()
                self._look(None)

    def _look(self, error: str | None) -> None:
        with self._trouble_lock:
            sentence = self._trouble.look(self.dropped, error, time.monotonic())
        if sentence is not None:
            self._tell(sentence)
