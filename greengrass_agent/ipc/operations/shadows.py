"""Device shadows for components: the operations of Greengrass's shadow manager.

AWS IoT Greengrass, "Interact with device shadows". Shadows themselves: `greengrass_agent/shadows`.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any, Final, Protocol

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.shadows import document
from greengrass_agent.shadows.document import CONFLICT, FAILED, FORBIDDEN, NOT_FOUND, TOO_MANY, Key, ShadowError
from greengrass_agent.shadows.service import Side

SERVICE: Final = "aws.greengrass.ShadowManager"
PAGE: Final = 25
LARGEST_PAGE: Final = 100

_ERRORS: Final = {
    FORBIDDEN: "UnauthorizedError",
    NOT_FOUND: "ResourceNotFoundError",
    CONFLICT: "ConflictError",
    TOO_MANY: "ServiceError",
    FAILED: "ServiceError",
}
"""What the SDK calls an error; all others are InvalidArgumentsError."""


class Shadows(Protocol):
    """What is needed of the node's shadow service."""

    def names(self, thing: str) -> list[str]:
        """The named shadows of a thing, sorted. Raises ShadowError."""

    async def request(self, operation: document.Operation, key: Key, payload: bytes, side: Side) -> bytes:
        """Carry out a request. Raises ShadowError."""


class ShadowOperations:
    """The shadows of a node as its components have them."""

    def __init__(self, shadows: Shadows) -> None:
        self._shadows = shadows

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation("aws.greengrass#GetThingShadow", self._get, resource=_resource, service=SERVICE),
            Operation("aws.greengrass#UpdateThingShadow", self._update, resource=_resource, service=SERVICE),
            Operation("aws.greengrass#DeleteThingShadow", self._delete, resource=_resource, service=SERVICE),
            Operation("aws.greengrass#ListNamedShadowsForThing", self._list, resource=_thing, service=SERVICE),
        ]

    async def _get(self, caller: Caller, request: Json, stream: Stream) -> Json:
        return _payload(await self._ask("get", request, b""))

    async def _update(self, caller: Caller, request: Json, stream: Stream) -> Json:
        try:
            payload = base64.b64decode(request.get("payload") or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise IpcError("InvalidArgumentsError", "payload: expected its bytes as base64") from None
        return _payload(await self._ask("update", request, payload))

    async def _delete(self, caller: Caller, request: Json, stream: Stream) -> Json:
        await self._ask("delete", request, b"")
        return _payload(b"")

    async def _list(self, caller: Caller, request: Json, stream: Stream) -> Json:
        size = request.get("pageSize")
        size = PAGE if size is None else size
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_PAGE:
            raise IpcError("InvalidArgumentsError", f"pageSize argument must be between 1 and {LARGEST_PAGE}")
        after = _read_token(request.get("nextToken"))
        try:
            names = [name for name in self._shadows.names(_thing(request)) if name > after]
        except ShadowError as error:
            raise _told(error) from error
        page = names[:size]
        more = {"nextToken": base64.b64encode(page[-1].encode()).decode()} if len(names) > size else {}
        return {"results": page, "timestamp": time.time(), **more}

    async def _ask(self, operation: document.Operation, request: Json, payload: bytes) -> bytes:
        try:
            return await self._shadows.request(operation, _key(request), payload, Side.NODE)
        except ShadowError as error:
            raise _told(error) from error


def _told(error: ShadowError) -> IpcError:
    code = _ERRORS.get(error.code, "InvalidArgumentsError")
    fields = {"resourceType": "shadow"} if error.code == NOT_FOUND else {}
    return IpcError(code, error.message, **fields)


def _thing(request: Json) -> str:
    thing = request.get("thingName")
    if not isinstance(thing, str) or not thing:
        raise IpcError("InvalidArgumentsError", "ThingName is missing")
    return thing


def _key(request: Json) -> Key:
    name = request.get("shadowName")
    if name is not None and not isinstance(name, str):
        raise IpcError("InvalidArgumentsError", "shadowName: expected a text")
    return Key(_thing(request), name or "")


def _resource(request: Json) -> str:
    """What `accessControl` calls a shadow: the beginning of its topics."""
    key = _key(request)
    return f"$aws/things/{key.thing}/shadow" + (f"/name/{key.name}" if key.name else "")


def _payload(document: bytes) -> Json:
    return {"payload": base64.b64encode(document).decode()}


def _read_token(token: Any) -> str:
    """The name that the page before ended with; empty without one."""
    try:
        return base64.b64decode(token or "", validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        raise IpcError("InvalidArgumentsError", "Invalid nextToken argument") from None
