"""What has happened: a bounded ring of events that can be read again, followed, and written to a file."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

log = logging.getLogger(__name__)

CAPACITY = 10_000

Kind = Literal["digest", "deployment", "command", "endpoint", "switch", "node"]
Event = Mapping[str, Any]
"""`seq` (counts from 1), `time_ns` (monotonic), `kind`, and what belongs to the kind."""


class EventLog:
    """The ring. Each event is also a line of the log and, given a file, a line of NDJSON there."""

    def __init__(self, path: Path | None = None, capacity: int = CAPACITY) -> None:
        """Raises OSError when the file cannot be written."""
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

    def add(self, kind: Kind, **fields: Any) -> Event:
        """Record what happened now, unless the fields have a `time_ns` of their own."""
        self._last += 1
        event: Event = {"seq": self._last, "time_ns": time.monotonic_ns(), "kind": kind, **fields}
        self._ring.append(event)
        log.info("%s", describe(event))
        if self._file is not None:
            try:
                self._file.write(json.dumps(event) + "\n")
            except OSError as error:
                log.error("event log %s: %s: nothing more is written to it", self._path, error.strerror)
                self._file = None
        self._news.set()
        self._news = asyncio.Event()
        return event

    def since(self, seq: int) -> list[Event]:
        """The events after number `seq` that are still in the ring, oldest first."""
        return [event for event in self._ring if event["seq"] > seq]

    async def follow(self, seq: int) -> AsyncIterator[Event]:
        """The events after number `seq`, and then each new one, for ever."""
        while True:
            news = self._news
            for event in self.since(seq):
                seq = event["seq"]
                yield event
            if news is self._news:
                await news.wait()


def describe(event: Event) -> str:
    """An event in words, without its time."""
    match event["kind"]:
        case "digest":
            return f"{event['service']} on {event['switch']}: {_change(event)}"
        case "endpoint":
            return (
                f"{event['service']}: endpoint {event['term']}.{event['version']} is"
                f" {event['address']}:{event['port']}: {_change(event)}"
            )
        case "deployment":
            return f"deployment {event['deployment']} on {event['node']}: {event['status']}: {event['reason']}"
        case "command":
            target = f" {event['node']}" if event.get("node") else ""
            return f"{event['command']} {event['service']}{target}: {event['outcome']}"
        case "switch":
            return f"switch {event['switch']}: {event['what']}"
        case _:
            return f"node {event['node']}: {event['what']}"


def _change(event: Event) -> str:
    change = str(event["reason"])
    if event["from"] or event["to"]:
        change += f" {event['from'] or 'nobody'} -> {event['to'] or 'nobody'}"
        change += f" (rank {event['from_rank']} -> {event['to_rank']})"
    if event["node"]:
        change += f", by report {event['epoch']}/{event['sequence']} of {event['node']}"
    return change
