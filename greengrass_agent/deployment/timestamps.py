"""Changes that a component makes to its own configuration: which values change, and that the newer one wins. Pure.

AWS IoT Greengrass, "Interact with component configuration", UpdateConfiguration: each value has the time at which it
was set, in milliseconds since 1970, and a change that is older than a value that it would replace fails. Only objects
have keys; a list is a value as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from greengrass_agent.deployment.configuration import (
    Configuration,
    ConfigurationError,
    Json,
    UnsetError,
    merge,
    own_key,
    pointer_to,
)

KeyPath = tuple[str, ...]
"""The keys of a value, from the root on."""
Times = Mapping[str, int]
"""When values were set, by JSON pointer; what is not named was set before all times."""


class OutdatedError(ConfigurationError):
    """A change that is older than a value that it would replace."""


def find(configuration: Configuration, keys: Sequence[str]) -> tuple[str | None, Json]:
    """The last of the keys, as the configuration has it (None: it is the root), and what it stands for.

    Raises UnsetError.
    """
    value: Json = configuration
    name = None
    for key in keys:
        name = own_key(value, key) if isinstance(value, Mapping) else key
        if not isinstance(value, Mapping) or name not in value:
            raise UnsetError(f"configuration has no {pointer_to(keys)}")
        value = value[name]
    return name, value


def changes(before: Configuration, after: Configuration) -> list[KeyPath]:
    """The values that are there in only one of two configurations, or are others."""
    old, new = dict(_values(before)), dict(_values(after))
    return [path for path in {**old, **new} if path not in old or path not in new or old[path] != new[path]]


def merged(
    configuration: Configuration, times: Times, keys: Sequence[str], change: Mapping[str, Json], at_ms: int
) -> tuple[Configuration, Times]:
    """The configuration with `change` merged into the object that `keys` name, at a time, and its values' times.

    Objects that are not there are made. Raises OutdatedError where something is newer, ConfigurationError where the
    keys lead through a value that is no object.
    """
    value: Json = configuration
    for depth, key in enumerate(keys):
        value = value.get(own_key(value, key), {})
        if not isinstance(value, Mapping) and depth + 1 < len(keys):
            raise ConfigurationError(f"{pointer_to(keys[: depth + 1])} is no object, so it has no {keys[depth + 1]}")
    nested: Mapping[str, Json] = change
    for key in reversed(keys):
        nested = {key: nested}
    result = merge(configuration, nested)
    touched = [pointer_to(_spelt(result, (*keys, *path))) for path, _ in _values(change)]
    for pointer in touched:
        newer = next((own for own, time in times.items() if time > at_ms and _touch(own, pointer)), None)
        if newer is not None:
            raise OutdatedError(f"{newer} was set at {times[newer]}, which is later than {at_ms}")
    left = {pointer_to(path) for path, _ in _values(result)}
    return result, {own: time for own, time in {**times, **dict.fromkeys(touched, at_ms)}.items() if own in left}


def stamped(before: Configuration, times: Times, after: Configuration, at_ms: int) -> Times:
    """The times of the values of `after`, which a deployment of that time has made of `before`."""
    changed = {pointer_to(path) for path in changes(before, after)}
    left = [pointer_to(path) for path, _ in _values(after)]
    known = {**times, **dict.fromkeys(changed, at_ms)}
    return {pointer: known[pointer] for pointer in left if pointer in known}


def _values(value: Json, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Json]]:
    """What is no object, each with its keys."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from _values(inner, (*path, key))


def _spelt(configuration: Configuration, keys: Sequence[str]) -> KeyPath:
    """The keys as the configuration has them."""
    found: list[str] = []
    value: Json = configuration
    for key in keys:
        found.append(own_key(value, key))
        value = value[found[-1]]
    return tuple(found)


def _touch(one: str, other: str) -> bool:
    """Whether one of two pointers names the other's value, or one that holds it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
