"""The open streams of one kind of event, by component."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

from greengrass_agent.ipc.operation import Json, Stream


class Listening:
    """Which components listen, each by one stream or several. `left` is called when a stream has ended."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._streams: dict[str, list[Stream]] = {}
        self._left = left

    @property
    def components(self) -> Set[str]:
        """Those that listen now."""
        return self._streams.keys()

    def add(self, component: str, stream: Stream) -> None:
        """A component listens by one more stream, until that ends."""
        self._streams.setdefault(component, []).append(stream)
        stream.closed(lambda: self._end(component, stream))

    def send(self, event: Json, component: str) -> None:
        """Tell a component, by each of its streams."""
        for stream in list(self._streams.get(component, ())):
            stream.send(event)

    def _end(self, component: str, stream: Stream) -> None:
        streams = self._streams[component]
        streams.remove(stream)
        if not streams:
            del self._streams[component]
        self._left()


async def news_or_time(news: asyncio.Event, until: float) -> None:
    """Wait until there is news, which is news no more then, or the event loop's clock shows `until`."""
    try:
        async with asyncio.timeout_at(until):
            await news.wait()
    except TimeoutError:
        pass
    news.clear()
