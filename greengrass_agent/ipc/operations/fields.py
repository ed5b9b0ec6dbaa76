"""The fields of requests, read with the error that the client should hear. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greengrass_agent.ipc.operation import IpcError, Json


def text(request: Json, name: str) -> str:
    """A field that must be text. Raises IpcError."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise IpcError("InvalidArgumentsError", f"{name}: expected text, got {value!r:.80}")
    return value


def text_or(request: Json, name: str, default: str) -> str:
    """A field that may be left out. Raises IpcError."""
    return default if request.get(name) is None else text(request, name)


def key_path(request: Json) -> tuple[str, ...]:
    """The keys of a value in a configuration, none for all of it. Raises IpcError."""
    value = request.get("keyPath")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise IpcError("InvalidArgumentsError", f"keyPath: expected a list of keys, got {value!r:.80}")
    return tuple(value)


def number(request: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A field that must be a number, 0 or above. Raises IpcError."""
    value = request.get(name, default)
    # Also not what is no number at all, or without end.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise IpcError("InvalidArgumentsError", f"{name}: expected a number, 0 or above, got {value!r:.80}")
    return value
