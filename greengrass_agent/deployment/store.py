"""What the agent keeps on disk: packages by content, and the deployment that is in force.

    <root>/deployment.json                                       in force, with each component's configuration
    <root>/packages/recipes/<component>-<version>-<digest>.yaml
    <root>/packages/artifacts[-unarchived]/<component>/<version>/<digest>/
    <root>/packages/environments/<key>/                           Python environments, see host/environment.py
    <root>/work/<component>/                                      the component's own, kept through its versions
    <root>/users.json                                             whom each component runs as
    <root>/epochs/, <root>/run/                                   start counters; sockets of the running agent

Packages lie under the digest of their recipe, so that a new one never overwrites what is running.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greengrass_agent.deployment.machine import Result
from greengrass_agent.deployment.plan import Components, Installed
from hitless.component.recipe import Recipe, RecipeError
from hitless.files import JsonFile, StateError
from hitless.mqtt.messages import UNLIMITED, DeploymentInformation, SystemResourceLimits

FORMAT = 1
SHORT = 16


@dataclass(frozen=True, slots=True)
class _SavedComponent:
    version: str
    digest: str
    configuration: dict[str, Any]
    limits: SystemResourceLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class _Document:
    deployment_id: str
    components: dict[str, _SavedComponent]
    results: dict[str, Result]
    information: DeploymentInformation | None


@dataclass(slots=True)
class Record:
    """The deployment in force, and how jobs went."""

    deployment_id: str = ""
    components: Components = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    information: DeploymentInformation | None = None
    """The last deployment that came to an end, as the node's health tells it."""


@dataclass(frozen=True, slots=True)
class Store:
    """The agent's folder."""

    root: Path

    def recipe_file(self, name: str, version: str, digest: str) -> Path:
        """Where a recipe lies."""
        return self.root / "packages" / "recipes" / f"{name}-{version}-{digest[:SHORT]}.yaml"

    def artifacts(self, name: str, installed: Installed) -> Path:
        """Folder of a component's artefacts as downloaded."""
        return self.root / "packages" / "artifacts" / name / installed.version / installed.digest[:SHORT]

    def unarchived(self, name: str, installed: Installed) -> Path:
        """Folder of a component's unpacked archives."""
        return self.root / "packages" / "artifacts-unarchived" / name / installed.version / installed.digest[:SHORT]

    def work(self, name: str) -> Path:
        """Folder that belongs to a component."""
        return self.root / "work" / name

    @property
    def environments(self) -> Path:
        """Folder of the Python environments."""
        return self.root / "packages" / "environments"

    @property
    def users(self) -> Path:
        """File of the users that components run as."""
        return self.root / "users.json"

    def epoch(self, name: str) -> Path:
        """File of a start counter."""
        return self.root / "epochs" / name

    def run(self, name: str) -> Path:
        """A file of the running agent."""
        return self.root / "run" / name

    def load(self) -> Record:
        """What was saved; an empty record for a new node. Raises StateError."""
        document = self._file.load()
        if document is None:
            return Record()
        components = {name: self._installed(name, one) for name, one in document.components.items()}
        return Record(document.deployment_id, components, document.results, document.information)

    def save(self, record: Record) -> None:
        """Save, and wait until it is on disk. Raises StateError."""
        components = {
            name: _SavedComponent(one.version, one.digest, one.configuration, one.limits)
            for name, one in record.components.items()
        }
        self._file.save(_Document(record.deployment_id, components, record.results, record.information))

    def prune(self, components: Components) -> None:
        """Remove packages that no component of `components` needs."""
        recipes = {self.recipe_file(name, one.version, one.digest) for name, one in components.items()}
        for file in (self.root / "packages" / "recipes").glob("*.yaml"):
            if file not in recipes:
                file.unlink(missing_ok=True)
        kept = {folder(name, one) for name, one in components.items() for folder in (self.artifacts, self.unarchived)}
        for kind in ("artifacts", "artifacts-unarchived"):
            for folder in (self.root / "packages" / kind).glob("*/*/*"):
                if folder not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    @property
    def _file(self) -> JsonFile[_Document]:
        return JsonFile(
            self.root / "deployment.json",
            _Document,
            version=FORMAT,
            what="a saved deployment",
            unreadable="remove it to begin anew",
            unwritable="choose another root in the agent's configuration",
        )

    def _installed(self, name: str, saved: _SavedComponent) -> Installed:
        file = self.recipe_file(name, saved.version, saved.digest)
        try:
            recipe = Recipe.parse(file.read_text(), str(file))
        except (OSError, ValueError, RecipeError) as error:
            problem = error.strerror if isinstance(error, OSError) else error
            raise StateError(f"{file}: {problem}: remove {self._file.path} to begin anew") from error
        return Installed(recipe, saved.digest, saved.configuration, saved.limits)
