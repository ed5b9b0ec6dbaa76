"""What the controller must know again after a restart: its term, the operator's holds and drains, the keys."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.keys.ring import Binding, BindingKeys
from hitless.wire.report import Key

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
        _save(self.path, document)


class KeyFile:
    """Loads and saves the keys of reports; only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[Binding, BindingKeys]:
        """The saved keys; none when there is no file. Raises StateError when the file is not ours."""
        try:
            data = json.loads(self.path.read_text())
            if data["format"] != FORMAT:
                raise StateError(f"{self.path}: format {data['format']}, expected {FORMAT}: move the file away")
            return {
                (str(one["service"]), str(one["node"])): BindingKeys(
                    _key(one["current"]), _key(one["next"]) if one["next"] else None
                )
                for one in data["keys"]
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"{self.path}: not a key file of the controller ({error}): move it away") from error

    def save(self, keys: Mapping[Binding, BindingKeys]) -> None:
        """Write the keys and wait until they are on disk. Raises StateError."""
        if not keys and not self.path.exists():
            return
        document = {
            "format": FORMAT,
            "keys": [
                {
                    "service": service,
                    "node": node,
                    "current": _saved(one.current),
                    "next": _saved(one.next) if one.next else None,
                }
                for (service, node), one in sorted(keys.items(), key=lambda item: item[0])
            ],
        }
        _save(self.path, document)


def _key(saved: Mapping[str, Any]) -> Key:
    return Key(int(saved["id"]), bytes.fromhex(saved["secret"]))


def _saved(key: Key) -> dict[str, Any]:
    return {"id": key.id, "secret": key.secret.hex()}


def _save(path: Path, document: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}: choose another place with --state") from error
