"""Components' logs for the controller: a piece whenever it asks, so that nothing is sent when nobody reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from greengrass_agent.logs.cursor import CursorError
from greengrass_agent.logs.reader import Piece, Question, read
from hitless.mqtt import topics
from hitless.mqtt.messages import LogLine, LogsAsked, LogsTold, Message, MessageError

log = logging.getLogger(__name__)

RATE = 1 << 20
"""Bytes of output a second that are sent to all readers together."""
WAITING = 16
"""Questions that may wait for their turn; who asked one more asks again later."""


class LogReading:
    """The logs of one node's components."""

    def __init__(self, node: str, folder: Path, files: int, publish: Callable[[str, Message], object]) -> None:
        """`folder` has the logs, each with so many `files` at most."""
        self._node = node
        self._folder = folder
        self._files = files
        self._publish = publish
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By token."""

    def ask(self, component: str, payload: bytes) -> None:
        """Answer a question about a component's log, unless that is under way."""
        try:
            asked = LogsAsked.decode(payload)
        except MessageError as error:
            log.error("question about the log of %s refused: %s", component, error)
            return
        token = asked.client_token
        if token not in self._tasks and len(self._tasks) < WAITING:
            self._tasks[token] = asyncio.create_task(self._answer(component, asked))

    async def _answer(self, component: str, asked: LogsAsked) -> None:
        question = Question(asked.cursor, asked.since_s, asked.tail, asked.live)
        try:
            async with self._turn:
                path = self._folder / f"{component}.log"
                piece = await asyncio.to_thread(read, path, self._files, question)
                self._tell(component, _told(asked.client_token, piece))
                await asyncio.sleep(sum(len(line.text) for line in piece.lines) / RATE)
        except (CursorError, OSError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            self._tell(component, LogsTold(client_token=asked.client_token, cursor="", problem=problem))
        finally:
            del self._tasks[asked.client_token]

    def _tell(self, component: str, told: LogsTold) -> None:
        self._publish(topics.LOGS_TOLD.of(node=self._node, component=component), told)


def _told(token: str, piece: Piece) -> LogsTold:
    return LogsTold(
        client_token=token,
        lines=tuple(
            LogLine(time=line.time_ms, level=line.level, text=line.text, request_id=line.request)
            for line in piece.lines
        ),
        cursor=piece.cursor,
        more=piece.more,
        missed=piece.missed,
        gone=piece.gone,
    )
