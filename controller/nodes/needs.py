"""What a recipe asks of a node that this fabric does not have, or only where a node's owner allows it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hitless.component.fabric_has import LACKING, PROVIDED, SERVED_OPERATIONS, SERVED_SERVICES
from hitless.component.recipe import LIFECYCLE_STEPS, Lifecycle, Recipe
from hitless.component.spelling import any_case
from hitless.located import Location

_CONTAINERS = re.compile(r"(?:^|[\s;&|(])(docker|docker-compose|podman|nerdctl)\s", re.MULTILINE)
_ANY_LINUX = ("*", "all", "linux")


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a recipe needs."""

    location: Location
    """Where the recipe says so."""
    text: str
    """What it is, and what becomes of it or what can be done; for people."""


def needs(recipe: Recipe, there: Collection[str]) -> list[Need]:
    """Everything that the recipe needs beyond what every node has; `there` are the components that can be had."""
    found = [*_platform(recipe), *_dependencies(recipe, there), *_operations(recipe)]
    for index, manifest in enumerate(recipe.manifests):
        found += _steps(manifest.lifecycle, ("Manifests", index, "Lifecycle"))
    # A global lifecycle is the same for several manifests.
    return list({need.text: need for need in found}.values())


def _platform(recipe: Recipe) -> Iterator[Need]:
    systems = [manifest.platform.get("os", "*") for manifest in recipe.manifests]
    if not any(system in _ANY_LINUX or _regular(system, "linux") for system in systems):
        text = f"one of the systems {', '.join(systems)}: nodes run linux, and refuse it"
        yield Need(("Manifests",), text)


def _regular(wanted: str, value: str) -> bool:
    return len(wanted) > 1 and wanted[0] == wanted[-1] == "/" and re.fullmatch(wanted[1:-1], value) is not None


def _dependencies(recipe: Recipe, there: Collection[str]) -> Iterator[Need]:
    for name, dependency in recipe.dependencies.items():
        if name in there or name in PROVIDED:
            continue
        why = LACKING.get(name, "no component of that name is here")
        outcome = "nodes refuse it" if dependency.kind == "HARD" else "it runs without (SOFT)"
        yield Need(("ComponentDependencies", name), f"{name} {dependency.version}: {why}; {outcome}")


def _operations(recipe: Recipe) -> Iterator[Need]:
    control = any_case(recipe.configuration.default, "accessControl")
    place = ("ComponentConfiguration", "DefaultConfiguration", "accessControl")
    for service, policies in control.items() if isinstance(control, Mapping) else ():
        asked = [_words(any_case(one, "operations")) for one in _mappings(policies)]
        served = SERVED_OPERATIONS | ({"*"} if service in SERVED_SERVICES else set())
        lacking = sorted({word for words in asked for word in words} - served)
        if lacking:
            text = f"{', '.join(lacking)} ({service}): this fabric does not serve that to components"
            yield Need((*place, str(service)), text)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [one for one in values if isinstance(one, Mapping)]


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _steps(lifecycle: Lifecycle, place: Location) -> Iterator[Need]:
    for name in LIFECYCLE_STEPS:
        step = getattr(lifecycle, name)
        if step is None:
            continue
        if step.requires_privilege:
            text = f"root for {name} (RequiresPrivilege): only where allow_privilege in the agent's configuration"
            yield Need((*place, name, "RequiresPrivilege"), f"{text} says so")
        if found := _CONTAINERS.search(step.script):
            text = f"{found[1]} for {name}: this fabric manages no containers, so each node must have the program"
            yield Need((*place, name), text)
