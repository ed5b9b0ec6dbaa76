"""Operations that a node does not serve, each with the reason that its clients are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream

_DEVICES: Final = "client devices do not connect to nodes here, so there are none to be authenticated"
REFUSED: Final[Mapping[str, str]] = {
    "AuthorizeClientDeviceAction": _DEVICES,
    "CreateDebugPassword": "there is no local debug console here; use the controller's commands",
    "GetClientDeviceAuthToken": _DEVICES,
    "SubscribeToCertificateUpdates": _DEVICES,
    "ValidateAuthorizationToken": "no stream manager is served here, whose tokens these would be",
    "VerifyClientDeviceIdentity": _DEVICES,
}
"""The reasons, by operation."""


def refused_operations() -> list[Operation]:
    """Operations whose answer is the reason."""
    return [Operation(f"aws.greengrass#{name}", _refusing(reason)) for name, reason in REFUSED.items()]


def _refusing(reason: str) -> Callable[[Caller, Json, Stream], Awaitable[Json]]:
    async def refuse(caller: Caller, request: Json, stream: Stream) -> Json:
        raise IpcError("ServiceError", reason)

    return refuse
