"""The states of a component on a node."""

from enum import StrEnum


class ComponentState(StrEnum):
    """A component's state, by Greengrass's names."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    ERRORED = "ERRORED"
    BROKEN = "BROKEN"
    FINISHED = "FINISHED"
    UNINSTALLING = "UNINSTALLING"
    UNINSTALLED = "UNINSTALLED"


READY = frozenset({ComponentState.RUNNING, ComponentState.FINISHED})
"""The states in which a component counts as deployed, and those that need it may start."""
