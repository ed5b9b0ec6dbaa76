"""What nodes were asked over MQTT and have not answered yet."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Asked(Generic[T]):
    """Questions of one kind under way, by their tokens."""

    def __init__(self, patience_s: float, instead: Callable[[str], T]) -> None:
        """`patience_s`: how long a node may take. `instead` makes an answer out of why there is none."""
        self._patience_s = patience_s
        self._instead = instead
        self._waiting: dict[str, tuple[str, asyncio.Future[T]]] = {}

    def begin(self, node: str) -> str:
        """A question to a node; returns its token."""
        token = secrets.token_hex(8)
        self._waiting[token] = node, asyncio.get_running_loop().create_future()
        return token

    def answered(self, token: str, answer: T) -> None:
        """The node has answered."""
        _, future = self._waiting.get(token, ("", None))
        if future is not None and not future.done():
            future.set_result(answer)

    def unanswered(self, token: str, reason: str) -> None:
        """The question will have no answer."""
        self.answered(token, self._instead(reason))

    def lost(self, node: str, reason: str = "the node went offline meanwhile") -> None:
        """The node has gone, or who asks has: nobody knows the answers."""
        for token, (asked, _) in list(self._waiting.items()):
            if asked == node:
                self.unanswered(token, reason)

    async def answer(self, token: str) -> T:
        """Wait for the answer, or for what is in its place."""
        _, future = self._waiting[token]
        try:
            async with asyncio.timeout(self._patience_s):
                return await future
        except TimeoutError:
            return self._instead(f"the node has not answered within {self._patience_s:g} s")
        finally:
            del self._waiting[token]
