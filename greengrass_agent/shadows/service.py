"""The node's shadow service: one request after the other, on disk before it is answered, told to whoever listens."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from greengrass_agent.shadows import document
from greengrass_agent.shadows.document import (
    FAILED,
    FORBIDDEN,
    TOO_MANY,
    Json,
    Key,
    Operation,
    Request,
    ShadowError,
)
from greengrass_agent.shadows.store import FullError, ShadowStore
from hitless.files import StateError

log = logging.getLogger(__name__)

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OWNED = (
    "{} is a component's name: that shadow carries its role and key between the controller and this node, and nobody "
    "else reads or writes it; choose another name"
)
MOST_WAITING: Final = 100
"""Requests that wait for the disk; one more is refused."""


class Side(Enum):
    """Where a request came from."""

    NODE = auto()
    """A component of this node."""
    BROKER = auto()


@dataclass(frozen=True, slots=True)
class Told:
    """One message about a shadow, as its topic has it."""

    key: Key
    operation: Operation
    kind: str
    """accepted, rejected, delta or documents."""
    payload: bytes
    side: Side
    """Where what it tells came from."""

    @property
    def concerns_all(self) -> bool:
        """Whether it tells of a change; other answers are for who has asked."""
        return self.operation != "get" and self.kind != "rejected"


class ShadowService:
    """Shadows of this node's thing, and of whichever others its components name."""

    def __init__(
        self,
        thing: str,
        store: ShadowStore,
        is_component: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`thing` is this node's, whose shadows of components' names the fabric uses itself: by them the controller
        tells roles and keys. They are neither read nor written here. `is_component` knows the names without a dot.
        """
        self._thing = thing
        self._store = store
        self._is_component = is_component
        self._clock = clock
        self._listeners: list[Callable[[Told], None]] = []
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[bytes]] = set()

    def fabric_owns(self, key: Key) -> bool:
        """Whether a shadow is a component's. Whatever could be one with a dot is, and cannot be another's anyway."""
        return (
            key.thing == self._thing
            and _COMPONENT.fullmatch(key.name) is not None
            and ("." in key.name or self._is_component(key.name))
        )

    def listen(self, call: Callable[[Told], None]) -> None:
        """Have each message told. It must not fail, and not take long."""
        self._listeners.append(call)

    def names(self, thing: str) -> list[str]:
        """The named shadows of a thing, sorted. Raises ShadowError."""
        Key(thing, "").check()
        return [name for name in self._store.names(thing) if not self.fabric_owns(Key(thing, name))]

    def there(self) -> list[Key]:
        """All shadows that there are."""
        return [key for key in self._store.there() if not self.fabric_owns(key)]

    def deleted(self) -> list[Key]:
        """Those that were there, and whose versions are remembered."""
        return [key for key in self._store.deleted() if not self.fabric_owns(key)]

    def documents(self, key: Key) -> bytes | None:
        """What the topic `documents` says of a shadow as it is now; None: there is none, or it cannot be read."""
        try:
            kept = self._store.load(key)
        except StateError as error:
            log.error("%s", error)
            return None
        if not isinstance(kept, document.Document):
            return None
        return document.encode({"previous": None, "current": kept.told(), "timestamp": int(self._clock())})

    async def request(self, operation: Operation, key: Key, payload: bytes, side: Side) -> bytes:
        """Carry out a request in its turn; returns what is told on the topic `accepted`. Raises ShadowError.

        What is begun is finished and told, also when whoever waits for it is cancelled.
        """
        if not self.fabric_owns(key):
            key.check()  # what has no topic is told nobody else
        if len(self._tasks) >= MOST_WAITING:
            raise self._rejected(operation, key, ShadowError(TOO_MANY, "Too Many Requests"), side)
        task = asyncio.create_task(self._answer(operation, key, payload, side))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _answer(self, operation: Operation, key: Key, payload: bytes, side: Side) -> bytes:
        try:
            if self.fabric_owns(key):
                raise ShadowError(FORBIDDEN, _OWNED.format(key.name))
            async with self._turn:
                accepted, others = await self._carry_out(operation, key, payload)
        except ShadowError as error:
            raise self._rejected(operation, key, error, side) from None
        for kind, other in others.items():
            self._tell(Told(key, operation, kind, document.encode(other), side))
        answer = document.encode(accepted)
        self._tell(Told(key, operation, "accepted", answer, side))
        return answer

    async def _carry_out(self, operation: Operation, key: Key, payload: bytes) -> tuple[Json, dict[str, Json]]:
        """What is told of a request on the topic `accepted`, and on others by their kind."""
        now = int(self._clock())
        try:
            kept = self._store.load(key)
            if operation == "get":
                return document.get(kept, key, document.read_token(payload), now), {}
            if operation == "delete":
                deleted, accepted = document.delete(kept, key, document.read_token(payload), now)
                await self._store.save(key, deleted)
                return accepted, {}
            updated = document.update(kept, Request.read(payload), now)
            await self._store.save(key, updated.document)
        except (StateError, FullError) as error:
            log.error("shadow %s of %s: %s", key.name or "(classic)", key.thing, error)
            raise ShadowError(FAILED, f"Internal service failure: {error}") from error
        delta = {"delta": updated.delta} if updated.delta is not None else {}
        return updated.accepted, {**delta, "documents": updated.documents}

    def _rejected(self, operation: Operation, key: Key, error: ShadowError, side: Side) -> ShadowError:
        """Tell that a request is refused; returns the error."""
        told = document.encode(error.document(int(self._clock())))
        self._tell(Told(key, operation, "rejected", told, side))
        return error

    def _tell(self, told: Told) -> None:
        for call in self._listeners:
            call(told)
