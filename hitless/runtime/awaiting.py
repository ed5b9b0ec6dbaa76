"""Handlers that are `async def`: awaited, one invocation at a time, on an event loop that the worker keeps."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asyncio import Runner

Value = TypeVar("Value")


class Awaiting:
    """The worker's event loop, made when there is something to await. What a handler leaves running on it goes on
    with the next invocation, as it does on Lambda where an environment is thawed."""

    def __init__(self) -> None:
        self._runner: Runner | None = None

    def prepare(self, handler: object) -> None:
        """Make the loop now if this handler needs it, so that no request waits for it."""
        if any(map(inspect.iscoroutinefunction, (handler, getattr(type(handler), "__call__", None)))):  # noqa: B004
            self._loop()

    def settled(self, value: object) -> object:
        """What a handler's return value comes to: a coroutine's result, and plain iterators for asynchronous ones."""
        if inspect.iscoroutine(value):
            value = self._run(value)
        if isinstance(value, AsyncIterator):
            return self._parts(value)
        if isinstance(value, dict) and isinstance(value.get("body"), AsyncIterator):
            return {**value, "body": self._parts(value["body"])}
        return value

    def _parts(self, source: AsyncIterator[object]) -> Iterator[object]:
        try:
            while True:
                try:
                    part = self._run(_next(source))
                except StopAsyncIteration:
                    return
                yield part
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                self._run(close())

    def _run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        # In the handler's own context, not the loop's: `invoke` knows by it for which request it calls.
        return self._loop().run(coroutine, context=contextvars.copy_context())

    def _loop(self) -> Runner:
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
            self._runner.get_loop()
        return self._runner


async def _next(source: AsyncIterator[object]) -> object:
    return await anext(source)
