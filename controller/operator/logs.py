"""A component's log, read from its nodes a piece at a time and put into the order of time.

Nothing is asked for before what came last is taken, so whoever reads slowly has the nodes send slowly. Who follows and
falls far behind loses lines, and is told how many: a node leaves them out.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from controller.operator.documents import LogEntry, LogGap, LogLine
from hitless.mqtt.messages import LogLine as ToldLine
from hitless.mqtt.messages import LogsAsked, LogsTold

FOLLOWED_S = 0.5
"""Between two questions to a node that had nothing new."""

Ask = Callable[[str, LogsAsked], Awaitable[LogsTold]]
"""Asks a node."""


@dataclass(slots=True)
class _Source:
    """The log on one node."""

    node: str
    cursor: str | None = None
    lines: deque[ToldLine] = field(default_factory=deque)
    more: bool = True
    problem: str | None = None
    """The last one, which was told."""

    def take(self, told: LogsTold) -> list[LogGap]:
        """Take a node's answer; returns what is to be told beside its lines."""
        if told.problem is not None:
            again, self.problem, self.more = told.problem == self.problem, told.problem, False
            return [] if again else [LogGap(node=self.node, missed=None, what=told.problem)]
        self.problem, self.cursor, self.more = None, told.cursor, told.more
        self.lines.extend(told.lines)
        gaps = []
        if told.gone:
            what = "the node no longer keeps what comes here"
            gaps.append(LogGap(node=self.node, missed=None, what=what))
        if told.missed:
            what = f"{told.missed} lines are left out here: more came than was read"
            gaps.append(LogGap(node=self.node, missed=told.missed, what=what))
        return gaps


async def read(
    ask: Ask, nodes: Sequence[str], *, since_s: int | None, tail: int | None, follow: bool
) -> AsyncIterator[LogEntry]:
    """What the nodes' logs have: of the last `since_s` seconds, or else the last `tail` lines of each, or all of it;
    on `follow` without an end."""
    sources = [_Source(node) for node in nodes]

    async def fetch(source: _Source, *, live: bool) -> list[LogGap]:
        first = source.cursor is None
        asked = LogsAsked(
            client_token="",
            cursor=source.cursor,
            since_s=since_s if first else None,
            tail=tail if first and since_s is None else None,
            live=live,
        )
        return source.take(await ask(source.node, asked))

    # A node has the next line in the order of time once each of the others has one, or no more.
    while empty := [source for source in sources if not source.lines and source.more]:
        for gaps in await asyncio.gather(*(fetch(source, live=False) for source in empty)):
            for gap in gaps:
                yield gap
        while all(source.lines or not source.more for source in sources) and any(one.lines for one in sources):
            yield _earliest(sources)
    if not follow:
        return
    while True:
        for gaps in await asyncio.gather(*(fetch(source, live=True) for source in sources)):
            for gap in gaps:
                yield gap
        while any(source.lines for source in sources):
            yield _earliest(sources)
        if not any(source.more for source in sources):
            await asyncio.sleep(FOLLOWED_S)


def _earliest(sources: Sequence[_Source]) -> LogLine:
    """Takes the earliest line that is there."""
    source = min((one for one in sources if one.lines), key=lambda one: one.lines[0].time)
    line = source.lines.popleft()
    return LogLine(
        node=source.node, time=written(line.time), level=line.level, text=line.text, request_id=line.request_id
    )


def written(time_ms: int) -> str:
    """A time in ms since 1970 as ISO 8601 writes it, in UTC; the last one that it can write if it is later."""
    latest = 253_402_300_799_999
    moment = datetime.fromtimestamp(min(time_ms, latest) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{min(time_ms, latest) % 1000:03d}Z"
