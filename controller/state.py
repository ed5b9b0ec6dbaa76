"""What the controller must know again after a restart: its term, the operator's holds, drains and exclusions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainSerializer

from hitless.files import JsonFile

FORMAT = 1


@dataclass(slots=True)
class State:
    """The state as it lies on disk."""

    term: Annotated[int, Field(ge=0)] = 0
    """Counts controller starts; endpoint publications of a later term are newer than all of an earlier one."""
    holds: dict[str, str] = field(default_factory=dict)
    """Service -> node it is held on until released."""
    drains: Annotated[set[tuple[str, str]], PlainSerializer(sorted)] = field(default_factory=set)
    """(service, node) that take no new work."""
    excluded: Annotated[set[str], PlainSerializer(sorted)] = field(default_factory=set)
    """Nodes that get nothing."""


class StateFile:
    """Loads and saves `State`; a save is atomic, so a crash leaves the old or the new one."""

    def __init__(self, path: Path) -> None:
        self._file = JsonFile(
            path,
            State,
            version=FORMAT,
            what="a state file of the controller",
            unreadable="move it away",
            unwritable="choose another place with --state",
            mode=0o600,
        )

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    def load(self) -> State:
        """The saved state; a fresh one when there is no file. Raises StateError when the file is not ours."""
        return self._file.load() or State()

    def save(self, state: State) -> None:
        """Write the state and wait until it is on disk. Raises StateError."""
        self._file.save(state)
