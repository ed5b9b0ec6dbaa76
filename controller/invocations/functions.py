"""Which functions there are and where they are called: as the controller says, or as the configuration does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controller.invocations.errors import unavailable
from controller.operator.client import Client, NoControllerError, RefusedError
from controller.operator.documents import CalledAt, Status

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""What the controller has said counts so long; a service that moves by reconfiguration is called elsewhere then."""
WAIT_S = 0.5
"""For a controller that is asked again: one that hangs must not keep every call waiting."""


@dataclass(frozen=True, slots=True)
class Function:
    """A service, as a caller of functions sees it."""

    service: str
    component: str
    version: str | None
    """Of the component; None where nobody has said it."""
    place: CalledAt | None
    """None: no node serves it yet."""


class Functions(Protocol):
    """Whoever knows them."""

    async def all(self) -> tuple[Function, ...]:
        """Those that there are now. Raises LambdaError where nobody can say."""


def find(functions: Iterable[Function], name: str) -> Function | None:
    """The one of a name: of a service, else of a component."""
    known = tuple(functions)
    by_service = next((one for one in known if one.service == name), None)
    return by_service or next((one for one in known if one.component == name), None)


def of_status(status: Status) -> tuple[Function, ...]:
    """Those of a fabric."""
    return tuple(
        Function(name, service.component, service.version, service.called_at)
        for name, service in status.services.items()
    )


class Listed:
    """Those that the configuration names."""

    def __init__(self, functions: tuple[Function, ...]) -> None:
        self._functions = functions

    async def all(self) -> tuple[Function, ...]:
        """They do not change."""
        return self._functions


class FromController:
    """Those that the controller tells of. While it does not answer, what it said last goes on counting."""

    def __init__(self, client: Client, status: Status | None = None) -> None:
        """`status` is what it has said just now, if it was asked."""
        self._client = client
        self._known = of_status(status) if status is not None else None
        self._asked_at = time.monotonic() if status is not None else float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._away = False

    async def all(self) -> tuple[Function, ...]:
        """Asks the controller, if it has not been for a while. Raises LambdaError if it has never answered."""
        if self._asking is None and time.monotonic() - self._asked_at >= FRESH_S:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait((self._asking,), timeout=None if self._known is None else WAIT_S)
        if self._known is None:
            raise unavailable("the controller does not answer, so that no function is known yet")
        return self._known

    async def _ask(self) -> None:
        try:
            self._known = of_status(await asyncio.to_thread(self._client.status))
            self._away = False
        except (NoControllerError, RefusedError) as error:
            if not self._away:
                log.warning("%s: going on with what it said last", error)
            self._away = True
        finally:
            self._asked_at, self._asking = time.monotonic(), None
