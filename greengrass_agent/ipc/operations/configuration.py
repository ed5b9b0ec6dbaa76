"""A component's configuration as components read it, change their own, and hear of its changes.

AWS IoT Greengrass, "Interact with component configuration", and where that is silent, the nucleus
(`com.aws.greengrass.builtin.services.configstore`). What is changed is kept with what deployments have merged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from greengrass_agent.deployment.configuration import Configuration, ConfigurationError, UnsetError
from greengrass_agent.deployment.plan import Components, Installed
from greengrass_agent.deployment.timestamps import KeyPath, OutdatedError, Times, changes, find, merged
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import key_path, number, text_or
from hitless.component.service_configuration import ServiceConfiguration, ServiceConfigurationError
from hitless.component.spelling import any_case
from hitless.files import StateError

MAX_BYTES: Final = 65_536
"""What a component may let its configuration grow to, written as JSON: each change writes it to disk."""


class Configurations(Protocol):
    """What is needed of the node's deployments."""

    @property
    def components(self) -> Components:
        """The components that are in force."""

    def reconfigure(self, component: str, configuration: Configuration, times: Times) -> None:
        """A component changes its own. Raises StateError, and then nothing has changed."""


@dataclass(eq=False, frozen=True, slots=True)
class _Subscriber:
    component: str
    keys: KeyPath
    """In lower case."""
    stream: Stream


class ConfigurationOperations:
    """The configurations of a node's components."""

    def __init__(self) -> None:
        self._subscribers: dict[_Subscriber, None] = {}

    def operations(self, node: Configurations) -> list[Operation]:
        """What components may ask for."""

        async def get(caller: Caller, request: Json, stream: Stream) -> Json:
            name, installed, keys = _named(node, caller, request)
            last, value = _find(installed, keys)
            # What is no object is told with its key, as the nucleus does it.
            return {"componentName": name, "value": value if isinstance(value, Mapping) else {last: value}}

        async def subscribe(caller: Caller, request: Json, stream: Stream) -> Json:
            name, installed, keys = _named(node, caller, request)
            _find(installed, keys)
            subscriber = _Subscriber(name, _lower(keys), stream)
            self._subscribers[subscriber] = None
            stream.closed(lambda: self._subscribers.pop(subscriber, None))
            return {}

        async def update(caller: Caller, request: Json, stream: Stream) -> Json:
            _update(node, caller, request)
            return {}

        return [
            Operation("aws.greengrass#GetConfiguration", get),
            Operation("aws.greengrass#UpdateConfiguration", update),
            Operation(
                "aws.greengrass#SubscribeToConfigurationUpdate",
                subscribe,
                event="aws.greengrass#ConfigurationUpdateEvents",
            ),
        ]

    def changed(self, before: Components, after: Components) -> None:
        """Tell who listens of the values that have changed."""
        for name in {subscriber.component for subscriber in self._subscribers}:
            if name not in before or name not in after:
                continue
            for path in changes(before[name].configuration, after[name].configuration):
                event = {"configurationUpdateEvent": {"componentName": name, "keyPath": list(path)}}
                for subscriber in list(self._subscribers):
                    if subscriber.component == name and _holds(subscriber.keys, _lower(path)):
                        subscriber.stream.send(event)


def _update(node: Configurations, caller: Caller, request: Json) -> None:
    keys, change = key_path(request), request.get("valueToMerge")
    if not isinstance(change, Mapping):
        raise IpcError("InvalidArgumentsError", f"valueToMerge: expected an object, got {change!r:.80}")
    # The SDK writes seconds, with a fraction.
    at_ms = round(number(request, "timestamp") * 1000)
    if (installed := node.components.get(caller.component)) is None:
        raise IpcError("InvalidArgumentsError", f"{caller.component} is not deployed any more")
    try:
        configuration, times = merged(installed.configuration, installed.times, keys, change, at_ms)
        _check(installed.configuration, configuration)
        node.reconfigure(caller.component, configuration, times)
    except OutdatedError as error:
        raise IpcError("FailedUpdateConditionCheckError", str(error)) from error
    except (ConfigurationError, ServiceConfigurationError) as error:
        raise IpcError("InvalidArgumentsError", str(error)) from error
    except StateError as error:
        raise IpcError("ServiceError", f"the configuration cannot be kept: {error}") from error


def _check(before: Configuration, after: Configuration) -> None:
    """See that a component may change its configuration so. Raises ConfigurationError, ServiceConfigurationError."""
    if any_case(before, "accessControl") != any_case(after, "accessControl"):
        raise ConfigurationError("accessControl: what a component may do is said by deployments, not by itself")
    if ServiceConfiguration.read(before) != ServiceConfiguration.read(after):
        raise ConfigurationError("how a component is served, and its endpoints, are said by deployments, not by itself")
    size = len(json.dumps(after))
    if size > max(MAX_BYTES, len(json.dumps(before))):
        raise ConfigurationError(f"the configuration would have {size} bytes as JSON, and {MAX_BYTES} are allowed")


def _named(node: Configurations, caller: Caller, request: Json) -> tuple[str, Installed, KeyPath]:
    """The component that a request names, or else the one that asks, and the keys. Raises IpcError."""
    name = text_or(request, "componentName", caller.component)
    if (installed := node.components.get(name)) is None:
        raise IpcError(
            "ResourceNotFoundError", f"the node has no component {name}", resourceType="Component", resourceName=name
        )
    return name, installed, key_path(request)


def _find(installed: Installed, keys: KeyPath) -> tuple[str | None, Any]:
    try:
        return find(installed.configuration, keys)
    except UnsetError as error:
        raise IpcError(
            "ResourceNotFoundError", f"Key not found: {error}", resourceType="Configuration", resourceName=str(keys)
        ) from error


def _lower(keys: KeyPath) -> KeyPath:
    return tuple(key.lower() for key in keys)


def _holds(subscribed: KeyPath, path: KeyPath) -> bool:
    """Whether a change at `path` is one of what is subscribed to: there, within it, or of all that it is in."""
    return path[: len(subscribed)] == subscribed or subscribed[: len(path)] == path
