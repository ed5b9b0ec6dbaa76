"""What a deployment means for a node: its components resolved, and the steps from what runs to what shall. Pure."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from greengrass_agent.deployment.configuration import Configuration, ConfigurationError, updated
from greengrass_agent.deployment.interpolation import Context, interpolate
from hitless.component.recipe import LIFECYCLE_STEPS, Manifest, Recipe, Step
from hitless.component.service_configuration import ServiceConfiguration, ServiceConfigurationError
from hitless.mqtt.messages import UNLIMITED, DeploymentDocument, SystemResourceLimits

ARCHITECTURES = {"x86_64": "amd64", "i686": "x86", "aarch64": "aarch64", "armv7l": "arm", "armv6l": "arm"}
"""Greengrass's names of what uname calls the machine."""
DETAILS = {"armv7l": "arm7", "armv6l": "arm6", "aarch64": "arm8"}
"""What `architecture.detail` calls it, where that says more."""
RUNTIMES = ("aws_nucleus_classic", "aws_nucleus_lite")
"""This agent stands in for either."""


class ResolveError(Exception):
    """A deployment whose components do not fit the document, the node or one another."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A component as a deployment leaves it on the node."""

    recipe: Recipe
    digest: str
    """Hexadecimal SHA-256 of the recipe file; with the digests in it, of the artefacts too."""
    configuration: Configuration
    limits: SystemResourceLimits = UNLIMITED

    @property
    def version(self) -> str:
        """The component's version."""
        return self.recipe.version


Components = Mapping[str, Installed]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps from one set of components to another, each in the order in which to take them."""

    remove: tuple[str, ...] = ()
    """Components that go; dependents first."""
    replace: tuple[str, ...] = ()
    """Components whose version or content changes, or that need one that does; dependencies first."""
    start: tuple[str, ...] = ()
    """Components that are new; dependencies first."""
    reconfigure: tuple[str, ...] = ()
    """Components that get a new configuration or other limits; each takes it as it can, live or by a restart."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The components that the plan does something to and that are there afterwards."""
        return self.reconfigure + self.replace + self.start


def manifest_for(recipe: Recipe, os: str = "linux", architecture: str | None = None) -> Manifest:
    """The first manifest of the recipe that fits the node. Raises ResolveError when none does."""
    machine = platform.machine()
    node = {
        "os": (os,),
        "architecture": (architecture or ARCHITECTURES.get(machine, machine),),
        "architecture.detail": (DETAILS[machine],) if machine in DETAILS else (),
        "runtime": RUNTIMES,
    }
    for manifest in recipe.manifests:
        if all(_fits(wanted, node.get(key, ())) for key, wanted in manifest.platform.items()):
            return manifest
    told = ", ".join(f"{key} {' or '.join(values)}" for key, values in node.items() if values)
    raise ResolveError(f"{recipe.name} {recipe.version}: no manifest for this platform ({told})")


def resolve(document: DeploymentDocument, recipes: Mapping[str, Recipe], allow_privilege: bool = False) -> None:
    """Check that the fetched recipes are what the document asks for and that every dependency is met.

    `allow_privilege`: the node's owner lets scripts run as root. Raises ResolveError naming the component.
    """
    for name, component in document.components.items():
        recipe = recipes[name]
        if (recipe.name, recipe.version) != (name, component.component_version):
            raise ResolveError(f"{name} {component.component_version}: its recipe is of {recipe.name} {recipe.version}")
        asking = [step for step, one in steps_of(recipe).items() if one.requires_privilege]
        if asking and not allow_privilege:
            raise ResolveError(
                f"{name}: {' and '.join(asking)} with RequiresPrivilege, which this node does not allow"
                " (allow_privilege in its agent's configuration)"
            )
        for needed, dependency in recipe.dependencies.items():
            if needed not in recipes:
                if dependency.kind == "HARD":
                    raise ResolveError(f"{name} needs {needed} {dependency.version}, which the deployment lacks")
            elif not dependency.met_by(recipes[needed].version):
                raise ResolveError(
                    f"{name} needs {needed} {dependency.version}, the deployment has {recipes[needed].version}"
                )
    in_order(recipes)


def configure(document: DeploymentDocument, recipes: Mapping[str, Recipe], current: Components) -> dict[str, Installed]:
    """The components as the document wants them, with their configurations. Raises ResolveError."""
    target = {}
    for name, component in document.components.items():
        recipe = recipes[name]
        own = current[name].configuration if name in current else None
        try:
            configuration = updated(own, recipe.configuration.default, component.configuration_update)
            ServiceConfiguration.read(configuration)
            with_configuration(recipe, configuration)
        except (ConfigurationError, ServiceConfigurationError) as error:
            raise ResolveError(f"{name}: {error}") from error
        limits = component.run_with.system_resource_limits
        target[name] = Installed(recipe, document.recipes[name].sha256, configuration, limits)
    return target


def plan(current: Components, target: Components, broken: Collection[str] = ()) -> Plan:
    """The steps from `current` to `target`.

    Nothing that stays the same is touched, unless it is broken or a HARD dependency of it is replaced.
    """
    new_order = in_order({name: installed.recipe for name, installed in target.items()})
    old_order = in_order({name: installed.recipe for name, installed in current.items()})
    needs = hard_needs({name: installed.recipe for name, installed in target.items()})
    replace: list[str] = []
    start: list[str] = []
    reconfigure: list[str] = []
    for name in new_order:
        if name not in current:
            start.append(name)
        elif current[name].digest != target[name].digest or name in broken or not needs[name].isdisjoint(replace):
            replace.append(name)
        elif (current[name].configuration, current[name].limits) != (target[name].configuration, target[name].limits):
            reconfigure.append(name)
    remove = [name for name in reversed(old_order) if name not in target]
    return Plan(tuple(remove), tuple(replace), tuple(start), tuple(reconfigure))


def in_order(recipes: Mapping[str, Recipe]) -> list[str]:
    """The components, dependencies first. Raises ResolveError for a circle."""
    graph = {
        name: sorted(needed for needed in recipe.dependencies if needed in recipes)
        for name, recipe in sorted(recipes.items())
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ResolveError(f"components depend on one another in a circle: {' -> '.join(error.args[1])}") from error


def hard_needs(recipes: Mapping[str, Recipe]) -> dict[str, frozenset[str]]:
    """For each component, the others among them without which it cannot run."""
    return {
        name: frozenset(needed for needed, one in recipe.dependencies.items() if one.kind == "HARD") & recipes.keys()
        for name, recipe in recipes.items()
    }


def steps_of(recipe: Recipe) -> dict[str, Step]:
    """The lifecycle steps of the manifest that fits the node. Raises ResolveError."""
    lifecycle = manifest_for(recipe).lifecycle
    return {name: step for name in LIFECYCLE_STEPS if (step := getattr(lifecycle, name)) is not None}


def environment_of(recipe: Recipe, step: Step) -> dict[str, str]:
    """The environment that the recipe sets for a step, variables not yet replaced. Raises ResolveError."""
    return {**manifest_for(recipe).lifecycle.setenv, **step.setenv}


def with_configuration(recipe: Recipe, configuration: Configuration) -> list[str]:
    """What the recipe's scripts and their environments are with a configuration, all other variables blank.

    Two configurations for which it is the same differ in nothing that a process got when it was started. Raises
    ConfigurationError for a variable without a value, ResolveError.
    """
    context = Context("", "", "", "", configuration)
    return [
        interpolate(text, context)
        for step in steps_of(recipe).values()
        for text in (step.script, *environment_of(recipe, step).values())
    ]


def _fits(wanted: str, values: Collection[str]) -> bool:
    # "*" and "all" are any; /…/ is a regular expression (component recipe reference, Platform).
    if wanted in ("*", "all"):
        return True
    if len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return any(re.fullmatch(wanted[1:-1], value) for value in values)
    return wanted in values
