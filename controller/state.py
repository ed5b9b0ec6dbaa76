"""What the controller must know again after a restart: its term, the operator's holds and drains."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

FORMAT = 1


class StateError(Exception):
    """The state file cannot be read or written; the message says what to do."""


@dataclass(slots=True)
class State:
    """The state as it lies on disk."""

    term: int = 0
    """Counts controller starts; endpoint publications of a later term are newer than all of an earlier one."""
    holds: dict[str, str] = field(default_factory=dict)
    """Service -> node it is held on until released."""
    drains: set[tuple[str, str]] = field(default_factory=set)
    """(service, node) that take no new work."""


class StateFile:
    """Loads and saves `State`; a save is atomic, so a crash leaves the old or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> State:
        """The saved state; a fresh one when there is no file. Raises StateError when the file is not ours."""
        try:
            data = json.loads(self.path.read_text())
            if data["format"] != FORMAT:
                raise StateError(f"{self.path}: format {data['format']}, expected {FORMAT}: move the file away")
            return State(
                term=int(data["term"]),
                holds={str(service): str(node) for service, node in data["holds"].items()},
                drains={(str(service), str(node)) for service, node in data["drains"]},
            )
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"{self.path}: not a state file of the controller ({error}): move it away") from error

    def save(self, state: State) -> None:
        """Write the state and wait until it is on disk."""
        document = {
            "format": FORMAT,
            "term": state.term,
            "holds": state.holds,
            "drains": sorted(state.drains),
        }
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w") as file:
                json.dump(document, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}: choose another place with --state") from error
