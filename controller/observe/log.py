"""What has happened: a bounded ring of events that can be read again, followed, and written to a file."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from controller.observe.events import Event

log = logging.getLogger(__name__)

CAPACITY = 10_000


class EventLog:
    """The ring. Each event is also a line of the log and, given a file, a line of NDJSON there."""

    def __init__(
        self,
        describe: Callable[[Event], tuple[str, str]],
        path: Path | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """`describe` says of what an event is, and what happened. Raises OSError when the file cannot be written."""
        self._describe = describe
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._last = 0
        self._path = path
        self._file: TextIO | None = None
        self._news = asyncio.Event()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", buffering=1)

    @property
    def last(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, event: Event) -> Event:
        """Record an event, as having happened now unless it says when; returns it with its number."""
        self._last += 1
        subject, what = self._describe(event)
        event = event.recorded(self._last, time.monotonic_ns(), what)
        self._ring.append(event)
        log.info("%s: %s", subject, what)
        if self._file is not None:
            try:
                self._file.write(event.encode() + "\n")
            except OSError as error:
                log.error("event log %s: %s: nothing more is written to it", self._path, error.strerror)
                self._file = None
        self._news.set()
        self._news = asyncio.Event()
        return event

    def since(self, seq: int) -> list[Event]:
        """The events after number `seq` that are still in the ring, oldest first."""
        return [event for event in self._ring if event.seq > seq]

    async def follow(self, seq: int) -> AsyncIterator[Event]:
        """The events after number `seq`, and then each new one, for ever."""
        while True:
            news = self._news
            for event in self.since(seq):
                seq = event.seq
                yield event
            if news is self._news:
                await news.wait()
