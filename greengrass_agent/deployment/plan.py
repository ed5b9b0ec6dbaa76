"""What a deployment means for a node: its components resolved, and the steps from what runs to what shall. Pure."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import inf

from greengrass_agent.deployment.configuration import Configuration, ConfigurationError, updated
from greengrass_agent.deployment.interpolation import Component, Context, components_named, interpolate, unset
from greengrass_agent.deployment.timestamps import Times, stamped
from hitless.component.fabric_has import PROVIDED
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
    user: str | None = None
    """Whom the deployment wants it to run as, `user` or `user:group`; None: as the node's owner says."""
    times: Times = field(default_factory=dict)
    """When the values of the configuration were set."""

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


def resolve(
    document: DeploymentDocument,
    recipes: Mapping[str, Recipe],
    allow_privilege: bool = False,
    allow_users: Collection[str] = (),
) -> None:
    """Check that the fetched recipes are what the document asks for and that every dependency is met.

    `allow_privilege`: the node's owner lets scripts run as root; `allow_users`: whom else than their own. Raises
    ResolveError naming the component.
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
        user = component.run_with.posix_user
        if user is not None and user.partition(":")[0] not in allow_users:
            raise ResolveError(
                f"{name}: runWith posixUser {user}, which this node does not allow (allow_users in its agent's"
                " configuration)"
            )
        for needed, dependency in recipe.dependencies.items():
            if needed not in recipes:
                if dependency.kind == "HARD" and needed not in PROVIDED:
                    raise ResolveError(f"{name} needs {needed} {dependency.version}, which the deployment lacks")
            elif not dependency.met_by(recipes[needed].version):
                raise ResolveError(
                    f"{name} needs {needed} {dependency.version}, the deployment has {recipes[needed].version}"
                )
    in_order(recipes)


def configure(
    document: DeploymentDocument, recipes: Mapping[str, Recipe], current: Components, at_ms: int = 0
) -> dict[str, Installed]:
    """The components as the document wants them, with their configurations, whose changes are of time `at_ms`.

    Raises ResolveError.
    """
    target = {}
    for name, component in document.components.items():
        recipe, own = recipes[name], current.get(name)
        before = own.configuration if own is not None else None
        try:
            configuration = updated(before, recipe.configuration.default, component.configuration_update)
            ServiceConfiguration.read(configuration)
        except (ConfigurationError, ServiceConfigurationError) as error:
            raise ResolveError(f"{name}: {error}") from error
        run_with = component.run_with
        limits, user = run_with.system_resource_limits, run_with.posix_user
        times = stamped(own.configuration, own.times, configuration, at_ms) if own is not None else {}
        target[name] = Installed(recipe, document.recipes[name].sha256, configuration, limits, user, times)
    for name, installed in target.items():
        context = variables_of(name, target)
        try:
            rendered(installed.recipe, context)
            for step in steps_of(installed.recipe).values():
                timeout_of(step, context)
        except ConfigurationError as error:
            raise ResolveError(f"{name}: {error}") from error
    return target


def plan(current: Components, target: Components, broken: Collection[str] = ()) -> Plan:
    """The steps from `current` to `target`.

    Nothing that stays the same is touched, unless it is broken or what it depends on (HARD, or by its variables) is
    replaced.
    """
    new_order = in_order({name: installed.recipe for name, installed in target.items()})
    old_order = in_order({name: installed.recipe for name, installed in current.items()})
    recipes = {name: installed.recipe for name, installed in target.items()}
    needs = {name: hard | _named(recipes[name]) for name, hard in hard_needs(recipes).items()}
    replace: list[str] = []
    start: list[str] = []
    reconfigure: list[str] = []
    for name in new_order:
        if name not in current:
            start.append(name)
        elif (
            current[name].digest != target[name].digest
            or name in broken
            or not needs[name].isdisjoint(replace)
            or current[name].user != target[name].user
        ):
            replace.append(name)
        elif _given(name, current) != _given(name, target):
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


def variables_of(name: str, components: Mapping[str, Installed]) -> Context:
    """What a component's variables stand for but for folders and the node, which are left blank."""
    installed = components[name]
    needed = {
        other: Component(components[other].configuration)
        for other in installed.recipe.dependencies
        if other in components
    }
    return Context(Component(installed.configuration), needed)


def rendered(recipe: Recipe, context: Context) -> dict[str, list[str]]:
    """Each step's script, skip condition, time limit and environment with the variables replaced.

    What was started with equal texts was started the same. Raises ConfigurationError, ResolveError.
    """
    return {
        name: [
            interpolate(text, context)
            for text in (
                step.script,
                step.skip_if or "",
                str(step.timeout or ""),
                *(f"{key}={value}" for key, value in environment_of(recipe, step).items()),
            )
        ]
        for name, step in steps_of(recipe).items()
    }


def timeout_of(step: Step, context: Context) -> float | None:
    """Seconds that a step may take; None: the default. Raises ConfigurationError."""
    if not isinstance(step.timeout, str):
        return step.timeout
    text = interpolate(step.timeout, context)
    if unset(text):
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise ConfigurationError(f"Timeout {step.timeout}: expected a number of seconds above 0, got {text!r}")
    return seconds


def _named(recipe: Recipe) -> set[str]:
    """The other components whose variables the recipe's steps have."""
    steps = steps_of(recipe).values()
    texts = [text for step in steps for text in (step.script, *environment_of(recipe, step).values())]
    return {name for text in texts for name in components_named(text)}


def _given(name: str, components: Components) -> object:
    """What of a component changes without another content: also what it is told of others."""
    installed = components[name]
    texts = rendered(installed.recipe, variables_of(name, components)) if _named(installed.recipe) else {}
    return installed.configuration, installed.limits, texts


def _fits(wanted: str, values: Collection[str]) -> bool:
    # "*" and "all" are any; /…/ is a regular expression (component recipe reference, Platform).
    if wanted in ("*", "all"):
        return True
    if len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return any(re.fullmatch(wanted[1:-1], value) for value in values)
    return wanted in values
