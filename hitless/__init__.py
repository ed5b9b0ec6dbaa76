"""What both ends of hitless speak: report, invocation and MQTT codecs, the client library, the function runtime.

The client library is exported here: `from hitless import Client` (docs/client.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitless.client.asynchronous import Client, ClientCounts
    from hitless.client.blocking import BlockingClient
    from hitless.client.discovery import follow_endpoints
    from hitless.client.endpoints import Endpoints
    from hitless.mqtt.broker import BrokerSettings
    from hitless.wire.calls import CallError, CallFailed, DeadlineExceeded, Endpoint, Response, UnknownEndpoint
    from hitless.wire.invocation import InvocationError
else:
    # A function's worker is a process that starts in the way of requests: it must not import asyncio, pydantic and
    # aiomqtt, half of its start, because a client that it does not use has them.
    _HOMES = {
        "Client": "client.asynchronous",
        "ClientCounts": "client.asynchronous",
        "BlockingClient": "client.blocking",
        "BrokerSettings": "mqtt.broker",
        "follow_endpoints": "client.discovery",
        "Endpoints": "client.endpoints",
        "CallError": "wire.calls",
        "CallFailed": "wire.calls",
        "DeadlineExceeded": "wire.calls",
        "Endpoint": "wire.calls",
        "Response": "wire.calls",
        "UnknownEndpoint": "wire.calls",
        "InvocationError": "wire.invocation",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


__all__ = [
    "BlockingClient",
    "BrokerSettings",
    "CallError",
    "CallFailed",
    "Client",
    "ClientCounts",
    "DeadlineExceeded",
    "Endpoint",
    "Endpoints",
    "InvocationError",
    "Response",
    "UnknownEndpoint",
    "follow_endpoints",
]
