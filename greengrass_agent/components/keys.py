"""The keys that a node's instances tag their reports with: on disk, since reports go on when the controller is away."""

from __future__ import annotations

import json
from pathlib import Path

from hitless.files import StateError, write_atomic
from hitless.wire.report import Key

FORMAT = 1


class Keys:
    """Keys by component. Only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        """Raises StateError when the file cannot be used."""
        self._path = path
        self._keys: dict[str, Key] = {}
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise StateError(
                    f"{path}: format {data['format']}, expected {FORMAT}: remove it, and new keys will come"
                )
            for component, saved in data["keys"].items():
                self._keys[component] = Key(int(saved["id"]), bytes.fromhex(saved["secret"]))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"{path}: not a key file ({error}): remove it, and new keys will come") from error

    def get(self, component: str) -> Key | None:
        """A component's key; None: its reports are not tagged."""
        return self._keys.get(component)

    def set(self, component: str, key: Key | None) -> bool:
        """Take a component's key, and wait until it is on disk; whether it is another one. Raises OSError."""
        if self._keys.get(component) == key:
            return False
        keys = {name: one for name, one in {**self._keys, component: key}.items() if one is not None}
        saved = {name: {"id": one.id, "secret": one.secret.hex()} for name, one in keys.items()}
        write_atomic(self._path, json.dumps({"format": FORMAT, "keys": saved}, indent=1).encode(), mode=0o600)
        self._keys = keys
        return True
