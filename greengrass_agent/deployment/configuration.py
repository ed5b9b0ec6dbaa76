"""A component's configuration: JSON pointers, and what a deployment's reset and merge make of it. Pure.

AWS IoT Greengrass, "Update component configurations": resets first, then the merge; objects merge key by key, anything
else is replaced as a whole. Keys are the same in any case, and keep the case in which they came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from hitless.mqtt.messages import ConfigurationUpdate

Json = Any
Configuration = dict[str, Json]


class ConfigurationError(ValueError):
    """A configuration that cannot be made or read; the message names the pointer or field."""


class UnsetError(ConfigurationError):
    """A configuration that has no value where a pointer points."""


def lookup(document: Json, pointer: str) -> Json:
    """The value that a JSON pointer (RFC 6901) names. Raises UnsetError when there is none, else ConfigurationError."""
    value = document
    for token in tokens_of(pointer):
        if isinstance(value, Mapping) and (key := own_key(value, token)) in value:
            value = value[key]
        elif isinstance(value, list) and token.isdecimal() and int(token) < len(value):
            value = value[int(token)]
        else:
            raise UnsetError(f"configuration has no {pointer}")
    return value


def merge(base: Configuration, change: Mapping[str, Json]) -> Configuration:
    """`base` with `change` merged in; neither is altered."""
    result = dict(base)
    for name, value in change.items():
        key = own_key(result, name)
        own = result.get(key)
        both = isinstance(own, dict) and isinstance(value, Mapping)
        result[key] = merge(own, value) if both else deepcopy(value)  # type: ignore[arg-type]
    return result


def updated(
    current: Configuration | None, defaults: Configuration, update: ConfigurationUpdate | None
) -> Configuration:
    """The configuration after a deployment.

    `current` is None for a component that is not on the node; a configuration that is there keeps its values, and takes
    the defaults of keys that it lacks. Raises ConfigurationError for a reset that is not a JSON pointer.
    """
    result = merge(defaults, current or {})
    if update is None:
        return result
    for pointer in update.reset:
        result = _reset(result, defaults, pointer)
    return merge(result, update.merge or {})


def _reset(current: Configuration, defaults: Configuration, pointer: str) -> Configuration:
    tokens = tokens_of(pointer)
    if not tokens:
        return deepcopy(defaults)
    head, rest = own_key(current, tokens[0]), tokens[1:]
    result = dict(current)
    defaults = {own_key(current, key): value for key, value in defaults.items()}
    if rest and isinstance(result.get(head), dict):
        inner = defaults.get(head)
        below = pointer_to(rest)
        result[head] = _reset(result[head], inner if isinstance(inner, dict) else {}, below)
    elif not rest and head in defaults:
        result[head] = deepcopy(defaults[head])
    elif not rest:
        result.pop(head, None)
    return result


def own_key(mapping: Mapping[str, Json], key: str) -> str:
    """The key as the mapping has it: in this case, or else in another."""
    if key in mapping:
        return key
    return next((own for own in mapping if str(own).lower() == key.lower()), key)


def tokens_of(pointer: str) -> list[str]:
    """The keys that a JSON pointer names, from the root on; `/` names the root too. Raises ConfigurationError."""
    if pointer in ("", "/"):
        return []
    if not pointer.startswith("/"):
        raise ConfigurationError(f"{pointer!r} is no JSON pointer: expected it to start with /")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def pointer_to(keys: Iterable[str]) -> str:
    """The JSON pointer that names these keys, from the root on."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
