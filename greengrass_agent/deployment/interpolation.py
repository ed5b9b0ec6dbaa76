"""Greengrass's recipe variables in scripts and environment values. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from greengrass_agent.deployment.configuration import ConfigurationError, UnsetError, lookup

# Only these names are ours: ${SHELL_VARIABLES} and {a,b} stay for the shell.
_VARIABLE = re.compile(
    r"\{(?:(?P<component>[A-Za-z0-9][A-Za-z0-9._-]*):(?=(?:artifacts|configuration|work):))?"
    r"(?P<space>artifacts|configuration|work|iot|kernel):(?P<key>[^{}\s]*)\}"
)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a component's files are."""

    artifacts: str = ""
    """Folder of the artefacts as they were downloaded."""
    decompressed: str = ""
    """Folder of the unpacked archives, one folder per archive, named without its suffix."""
    work: str = ""
    """Folder that belongs to the component and outlives its versions."""


@dataclass(frozen=True, slots=True)
class Component:
    """What the variables of a component stand for."""

    configuration: Mapping[str, Any]
    """Defaults and deployments merged."""
    folders: Folders = Folders()


@dataclass(frozen=True, slots=True)
class Context:
    """What the variables in one component's scripts stand for."""

    own: Component
    needed: Mapping[str, Component] = field(default_factory=dict)
    """The components that it depends on, by name."""
    thing_name: str = ""
    """The node's name."""
    root: str = ""
    """The agent's folder."""


def interpolate(text: str, context: Context) -> str:
    """`text` with every recipe variable replaced.

    A configuration value that is not text is written as JSON. A variable of a configuration that has no such value
    stays as it stands, as on Greengrass: see `unset`. Raises ConfigurationError for a variable that does not exist,
    or of a component that is no dependency.
    """

    def value(match: re.Match[str]) -> str:
        name, space, key = match.group("component", "space", "key")
        component = context.own if name is None else context.needed.get(name)
        if component is None:
            raise ConfigurationError(f"recipe variable {match[0]}: expected {name} among the recipe's dependencies")
        if space == "configuration":
            try:
                found = lookup(component.configuration, key)
            except UnsetError:
                return match[0]
            return found if isinstance(found, str) else json.dumps(found)
        folders = component.folders
        fixed = {
            ("artifacts", "path"): folders.artifacts,
            ("artifacts", "decompressedPath"): folders.decompressed,
            ("work", "path"): folders.work,
            ("iot", "thingName"): context.thing_name,
            ("kernel", "rootPath"): context.root,
        }
        if (space, key) not in fixed:
            known = ", ".join(f"{{{space}:{name}}}" for space, name in fixed)
            raise ConfigurationError(
                f"unknown recipe variable {match[0]}, expected {known} or {{configuration:/pointer}}"
            )
        return fixed[space, key]

    replace: Callable[[re.Match[str]], str] = value
    return _VARIABLE.sub(replace, text)


def unset(text: str) -> list[str]:
    """The variables that a text still has after `interpolate`: of configurations without such a value."""
    return [match[0] for match in _VARIABLE.finditer(text) if match["space"] == "configuration"]


def components_named(text: str) -> set[str]:
    """The other components whose variables a text has."""
    return {match["component"] for match in _VARIABLE.finditer(text) if match["component"] is not None}
