"""What the agent keeps on disk: packages by content, and the deployment that is in force.

    <root>/deployment.json                                       in force, and under way, with configurations
    <root>/packages/recipes/<component>-<version>-<digest>.yaml
    <root>/packages/artifacts[-unarchived]/<component>/<version>/<digest>/
    <root>/packages/environments/<key>/                           Python environments, see host/environment.py
    <root>/packages/**/.*.part                                   on the way here
    <root>/work/<component>/                                      the component's own, kept through its versions
    <root>/bootstraps.json                                        which content has done its bootstrap step
    <root>/users.json                                             whom each component runs as
    <root>/epochs/, <root>/run/                                   start counters; sockets of the running agent

Packages lie under the digest of their recipe, so that a new one never overwrites what is running.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from greengrass_agent.deployment.plan import Components, Installed
from greengrass_agent.deployment.record import Record, Result, UnderWay
from hitless.component.recipe import Recipe, RecipeError
from hitless.files import JsonFile
from hitless.mqtt.messages import UNLIMITED, DeploymentInformation, SystemResourceLimits

log = logging.getLogger(__name__)

FORMAT = 2
SHORT = 16
PARTIAL = ".part"
"""Ends the name of what is not complete yet; it begins with a dot."""


@dataclass(frozen=True, slots=True)
class _SavedComponent:
    version: str
    digest: str
    configuration: dict[str, Any]
    limits: SystemResourceLimits = UNLIMITED
    user: str | None = None
    times: dict[str, int] = field(default_factory=dict)

    @classmethod
    def all(cls, components: Components) -> dict[str, _SavedComponent]:
        return {
            name: cls(one.version, one.digest, one.configuration, one.limits, one.user, dict(one.times))
            for name, one in components.items()
        }


@dataclass(frozen=True, slots=True)
class _SavedUnderWay:
    job: str
    deployment_id: str
    before_id: str
    before: dict[str, _SavedComponent]
    names: tuple[str, ...]
    roll_back: bool
    reason: str | None

    @classmethod
    def of(cls, way: UnderWay) -> _SavedUnderWay:
        before = _SavedComponent.all(way.before)
        return cls(way.job, way.deployment_id, way.before_id, before, way.names, way.roll_back, way.reason)


@dataclass(frozen=True, slots=True)
class _Document:
    deployment_id: str
    components: dict[str, _SavedComponent]
    results: dict[str, Result]
    untold: tuple[str, ...]
    information: DeploymentInformation | None
    under_way: _SavedUnderWay | None


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
    def ipc_socket(self) -> Path:
        """Where components speak to the agent."""
        return self.run("ipc") / "socket"

    @property
    def bootstraps(self) -> Path:
        """File of the bootstrap steps that have been done."""
        return self.root / "bootstraps.json"

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
        """What was saved; an empty record for a new node.

        What cannot be read is left out and told in the log: the controller then hears that the node does not have its
        deployment, and sends it once more.
        """
        document = self._file.load_or_set_aside()
        if document is None:
            return Record()
        components, whole = self._all_installed(document.components)
        record = Record(document.deployment_id, components, document.results, document.untold, document.information)
        if not whole:
            return Record(results=document.results, untold=document.untold, components=components)
        if (saved := document.under_way) is None:
            return record
        before, back = self._all_installed(saved.before)
        way = UnderWay(
            saved.job,
            saved.deployment_id,
            saved.before_id,
            before,
            saved.names,
            roll_back=saved.roll_back and back,
            reason=saved.reason,
        )
        return replace(record, under_way=way)

    def save(self, record: Record) -> None:
        """Save, and wait until it is on disk. Raises StateError."""
        self._file.save(
            _Document(
                record.deployment_id,
                _SavedComponent.all(record.components),
                dict(record.results),
                record.untold,
                record.information,
                _SavedUnderWay.of(record.under_way) if record.under_way is not None else None,
            )
        )

    def prune(self, components: Components) -> None:
        """Remove packages that no component of `components` needs, and what came only in part."""
        packages = self.root / "packages"
        recipes = {self.recipe_file(name, one.version, one.digest) for name, one in components.items()}
        for file in (packages / "recipes").iterdir() if (packages / "recipes").is_dir() else ():
            if file not in recipes:
                file.unlink(missing_ok=True)
        kept = {folder(name, one) for name, one in components.items() for folder in (self.artifacts, self.unarchived)}
        for kind in ("artifacts", "artifacts-unarchived"):
            for folder in (packages / kind).glob("*/*/*"):
                if folder not in kept:
                    shutil.rmtree(folder, ignore_errors=True)
        for folder in kept:
            for part in folder.glob(f".*{PARTIAL}"):
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)

    @property
    def _file(self) -> JsonFile[_Document]:
        return JsonFile(
            self.root / "deployment.json",
            _Document,
            version=FORMAT,
            what="a saved deployment",
            unreadable="the node begins without components, and the controller sends them again",
            unwritable="make room or let it be written there",
        )

    def _all_installed(self, saved: Mapping[str, _SavedComponent]) -> tuple[dict[str, Installed], bool]:
        """The components whose recipes are there, and whether those are all."""
        found = {}
        for name, one in saved.items():
            file = self.recipe_file(name, one.version, one.digest)
            try:
                recipe = Recipe.parse(file.read_text(), str(file))
            except (OSError, ValueError, RecipeError) as error:
                problem = error.strerror if isinstance(error, OSError) else error
                log.error("%s: %s: %s is left out until the controller sends it again", file, problem, name)
                continue
            found[name] = Installed(recipe, one.digest, one.configuration, one.limits, one.user, one.times)
        return found, len(found) == len(saved)
