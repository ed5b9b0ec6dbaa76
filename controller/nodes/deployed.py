"""What `hitless deploy` has given a controller, on its disk: components, and the services that were added for them.

<state>/components/<name>/<version>/recipe.yaml, artifacts/<name>/<version>/<file>    a component, as it was sent
<state>/deployed.json                                                                 the services
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.nodes.components import Component, Library, pack
from hitless.component.recipe import RecipeError
from hitless.files import JsonFile, StateError

log = logging.getLogger(__name__)

_BEGUN = ".new-"


@dataclass(frozen=True, slots=True)
class _Document:
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name, as they would stand in the fabric file."""


class Deployed:
    """The folder. Calls raise StateError where it cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the controller's `--state`."""
        self._folder = folder / "components"
        self._file = JsonFile(
            folder / "deployed.json",
            _Document,
            version=1,
            what="a file of deployed services",
            unreadable="move it away",
            unwritable="choose another place with --state",
            mode=0o600,
        )

    def services(self) -> dict[str, dict[str, Any]]:
        """The services that were added, as they would stand in the fabric file."""
        document = self._file.load()
        return dict(document.services) if document is not None else {}

    def save_services(self, services: Mapping[str, dict[str, Any]]) -> None:
        """Put the added services on disk."""
        self._file.save(_Document(dict(services)))

    def library(self, own: Library, base_url: str) -> Library:
        """The operator's `own` components, and those that were deployed and are not among them."""
        known = {(one.recipe.name, one.recipe.version) for one in own.all()}
        found = list(own.all())
        for folder in self._folders():
            if (folder.parent.name, folder.name) in known:
                continue
            try:
                found.append(pack(folder, base_url))
            except RecipeError as error:
                log.error("%s is left out: %s", folder, error)
        return Library(found)

    def begin(self, recipe: str, files: Mapping[str, bytes], name: str, version: str) -> Path:
        """Write a component to a new folder, which is not looked at until it is kept. Artefacts have plain names."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=_BEGUN, dir=self._folder))
            (folder / "recipe.yaml").write_text(recipe)
            place = folder / "artifacts" / name / version
            place.mkdir(parents=True)
            for file, content in files.items():
                (place / file).write_bytes(content)
        except OSError as error:
            raise StateError(f"{self._folder}: {error.strerror}: choose another place with --state") from error
        return folder

    def keep(self, begun: Path, component: Component) -> None:
        """Keep a component that lies in a folder of `begin`."""
        place = self._place(component.recipe.name, component.recipe.version)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                shutil.rmtree(place)
            begun.rename(place)
        except OSError as error:
            raise StateError(f"{place}: {error.strerror}: choose another place with --state") from error

    def versions(self, name: str) -> list[str]:
        """The versions of a component that are kept here."""
        return sorted(path.parent.name for path in (self._folder / name).glob("*/recipe.yaml"))

    def drop(self, name: str, version: str) -> None:
        """Forget a component; nothing happens where it is not here."""
        shutil.rmtree(self._place(name, version), ignore_errors=True)

    @staticmethod
    def give_up(begun: Path) -> None:
        """Take a folder of `begin` away."""
        shutil.rmtree(begun, ignore_errors=True)

    def _place(self, name: str, version: str) -> Path:
        return self._folder / name / version

    def _folders(self) -> Iterator[Path]:
        for one in sorted(self._folder.glob("*/*/recipe.yaml")):
            if one.parent.parent.name.startswith(_BEGUN):
                continue
            yield one.parent
        for begun in self._folder.glob(f"{_BEGUN}*"):
            # A controller that was ended meanwhile has left it.
            self.give_up(begun)
