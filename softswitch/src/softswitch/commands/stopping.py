"""SIGTERM and SIGINT end the switch, in order if that does not take too long, and in any case soon."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from threading import Timer
from types import FrameType, TracebackType

LOGGER = logging.getLogger("softswitch")

PATIENCE_S = 1.5
"""How long an orderly end may take. A thread that is at a large program cannot be interrupted."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Within it, the signals ask for the end. What does not come to it in time is broken off, after `last`."""

    def __init__(self) -> None:
        self.last: Callable[[], None] = lambda: None
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer = Timer(PATIENCE_S, self._break_off)
        self._timer.daemon = True

    def __enter__(self) -> Stopping:
        self._before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        for number, before in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, before)
        self._timer.cancel()

    async def asked(self) -> None:
        """Wait for a signal."""
        self._loop = asyncio.get_running_loop()
        await self._asked.wait()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._timer.ident is None:
            self._timer.start()
        if self._loop is None:
            self._asked.set()
        else:
            self._loop.call_soon_threadsafe(self._asked.set)

    def _break_off(self) -> None:
        LOGGER.warning("what is under way does not end: it is broken off")
        self.last()
        os._exit(0)
