"""The states of components: what runs them reaches these, what deploys them judges by these."""

from enum import StrEnum


class State(StrEnum):
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


SETTLED = frozenset({State.RUNNING, State.FINISHED})
"""The states in which a deployment counts as carried out."""
