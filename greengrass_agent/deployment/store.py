"""What the agent keeps on disk: packages by content, and the deployment that is in force.

    <root>/deployment.json                                       in force, with each component's configuration
    <root>/packages/recipes/<component>-<version>-<digest>.yaml
    <root>/packages/artifacts[-unarchived]/<component>/<version>/<digest>/
    <root>/work/<component>/                                      the component's own, kept through its versions
    <root>/epochs/, <root>/run/                                   start counters; sockets of the running agent

Packages lie under the digest of their recipe, so that a new one never overwrites what is running.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greengrass_agent.deployment.machine import Result
from greengrass_agent.deployment.plan import Components, Installed
from hitless.component.recipe import Recipe, RecipeError
from hitless.files import StateError, write_atomic
from hitless.mqtt.messages import DeploymentInformation

FORMAT = 1
SHORT = 16


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

    def epoch(self, name: str) -> Path:
        """File of a start counter."""
        return self.root / "epochs" / name

    def run(self, name: str) -> Path:
        """A file of the running agent."""
        return self.root / "run" / name

    def load(self) -> Record:
        """What was saved; an empty record for a new node. Raises StateError."""
        path = self.root / "deployment.json"
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise StateError(f"{path}: format {data['format']}, expected {FORMAT}: remove it to begin anew")
            return Record(
                data["deployment_id"],
                {name: self._installed(name, one) for name, one in data["components"].items()},
                {job: Result(**result) for job, result in data["results"].items()},
                DeploymentInformation.model_validate(data["information"]) if data["information"] else None,
            )
        except FileNotFoundError as error:
            if Path(error.filename) == path:
                return Record()
            raise StateError(f"{error.filename} is missing: remove {path} to begin anew") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
            raise StateError(f"{path}: not a saved deployment ({error}): remove it to begin anew") from error

    def save(self, record: Record) -> None:
        """Save, and wait until it is on disk. Raises StateError."""
        path = self.root / "deployment.json"
        document = {
            "format": FORMAT,
            "deployment_id": record.deployment_id,
            "components": {
                name: {"version": one.version, "digest": one.digest, "configuration": one.configuration}
                for name, one in record.components.items()
            },
            "results": {
                job: {"status": result.status, "detail": result.detail, "reason": result.reason}
                for job, result in record.results.items()
            },
            "information": record.information.model_dump(mode="json") if record.information else None,
        }
        try:
            write_atomic(path, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from error

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

    def _installed(self, name: str, saved: Mapping[str, Any]) -> Installed:
        file = self.recipe_file(name, saved["version"], saved["digest"])
        return Installed(Recipe.parse(file.read_text(), str(file)), saved["digest"], saved["configuration"])
