"""Greengrass's recipe variables in scripts and environment values. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from greengrass_agent.deployment.configuration import ConfigurationError, lookup

# Only these names are ours: ${SHELL_VARIABLES} and {a,b} stay for the shell.
_VARIABLE = re.compile(r"\{(artifacts|configuration|work|iot):([^{}\s]*)\}")


@dataclass(frozen=True, slots=True)
class Context:
    """What the variables of one component stand for."""

    artifacts: str
    """Folder of the artefacts as they were downloaded."""
    decompressed: str
    """Folder of the unpacked archives, one folder per archive, named without its suffix."""
    work: str
    """Folder that belongs to the component and outlives its versions."""
    thing_name: str
    """The node's name."""
    configuration: Mapping[str, Any]
    """The component's configuration, defaults and deployments merged."""


def interpolate(text: str, context: Context) -> str:
    """`text` with every recipe variable replaced.

    A configuration value that is not text is written as JSON. Raises ConfigurationError for a variable that does not
    exist or has no value.
    """
    fixed = {
        ("artifacts", "path"): context.artifacts,
        ("artifacts", "decompressedPath"): context.decompressed,
        ("work", "path"): context.work,
        ("iot", "thingName"): context.thing_name,
    }

    def value(match: re.Match[str]) -> str:
        namespace, key = match.groups()
        if namespace == "configuration":
            found = lookup(context.configuration, key)
            return found if isinstance(found, str) else json.dumps(found)
        if (namespace, key) not in fixed:
            known = ", ".join(f"{{{space}:{name}}}" for space, name in fixed)
            raise ConfigurationError(
                f"unknown recipe variable {match[0]}, expected {known} or {{configuration:/pointer}}"
            )
        return fixed[namespace, key]

    replace: Callable[[re.Match[str]], str] = value
    return _VARIABLE.sub(replace, text)
