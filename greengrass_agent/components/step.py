"""A step of a component's lifecycle as a script: its command and its environment, with all variables filled in."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment import interpolation
from greengrass_agent.deployment.interpolation import Context, Folders, interpolate, unset
from greengrass_agent.deployment.plan import Installed, environment_of
from greengrass_agent.deployment.store import Store
from hitless.component.recipe import Step


@dataclass(frozen=True, slots=True)
class Scripted:
    """What a step runs."""

    command: str
    variables: dict[str, str]
    """The recipe's, of the lifecycle and of the step."""
    unset: tuple[str, ...]
    """Variables of the configuration that have no value, and stay as they stand."""


def context_of(
    name: str, installed: Installed, needed: Mapping[str, Installed], config: AgentConfig, store: Store
) -> Context:
    """What a component's scripts may name. `needed`: the components that it depends on."""
    return Context(
        _variables(name, installed, store),
        {other: _variables(other, one, store) for other, one in needed.items()},
        thing_name=config.thing,
        root=str(config.root),
    )


def scripted(installed: Installed, step: Step, context: Context) -> Scripted:
    """The step's script. Raises ConfigurationError for a variable that there is not."""
    variables = {key: interpolate(value, context) for key, value in environment_of(installed.recipe, step).items()}
    command = interpolate(step.script, context)
    missing = dict.fromkeys(one for text in (command, *variables.values()) for one in unset(text))
    return Scripted(command, variables, tuple(missing))


def skips(step: Step, context: Context) -> bool:
    """Whether a step's SkipIf holds: `onpath <program>` or `exists <path>`."""
    if step.skip_if is None:
        return False
    kind, operand = interpolate(step.skip_if, context).split(maxsplit=1)
    operand = operand.strip()
    return shutil.which(operand) is not None if kind.lower() == "onpath" else Path(operand).exists()


def _variables(name: str, installed: Installed, store: Store) -> interpolation.Component:
    folders = Folders(
        str(store.artifacts(name, installed)), str(store.unarchived(name, installed)), str(store.work(name))
    )
    return interpolation.Component(installed.configuration, folders)
