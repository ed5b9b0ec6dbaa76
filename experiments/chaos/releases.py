"""Versions of the functions of a chaos run, and the deployments that bring them to a node."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from controller.fabric.file import Fabric
from controller.nodes.components import Component, pack
from hitless.component.endpoint import ServiceEndpoint
from hitless.component.service_configuration import ServiceConfiguration
from hitless.mqtt.messages import (
    ComponentDeployment,
    ConfigurationUpdate,
    DeploymentDocument,
    JobExecution,
    NextJob,
    RecipeSource,
)

HANDLER = Path(__file__).with_name("handler.py")
REPOSITORY_PORT = 8081
"""Beside the controller's own repository, which has what it was started with."""
CONCURRENCY = 2
TIMEOUT_MS = 2500
"""The functions' time limit: longer than it takes to start a worker, short enough that `stuck` can wait for it."""
BROKEN = "raise SystemExit('this version cannot start')\n"
RECIPE = """\
RecipeFormatVersion: "2020-01-25"
ComponentName: {name}
ComponentVersion: {version}
ComponentConfiguration:
  DefaultConfiguration:
    service: {service}
    concurrency: {concurrency}
    timeout_ms: {timeout_ms}
    note: first
    warm_up: {{body: "", isBase64Encoded: false}}
    endpoints: {{}}
Manifests:
  - Platform: {{os: linux, runtime: "*"}}
    Lifecycle:
      run:
        Script: >-
          exec python3 -m hitless.function --handler handler.lambda_handler --artifacts {{artifacts:path}}
          --workers {{configuration:/concurrency}}
    Artifacts:
      - Uri: s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/handler.py
"""


@dataclass(slots=True)
class OnNode:
    """What a node should have of one function."""

    component: Component
    concurrency: int = CONCURRENCY
    note: str = "first"


@dataclass
class Releases:
    """All versions. What `make` has made lies below `folder`: `initial` for the controller, `repository` for jobs."""

    fabric: Fabric
    folder: Path
    wanted: dict[tuple[str, str], OnNode] = field(default_factory=dict)
    """By (node, service)."""
    _made: int = 0

    @property
    def initial(self) -> Path:
        """The components that the controller deploys."""
        return self.folder / "initial"

    @property
    def repository(self) -> Path:
        """What is served at `REPOSITORY_PORT`."""
        return self.folder / "repository"

    def begin(self) -> None:
        """Make the first version of each service's function."""
        self.repository.mkdir(parents=True)
        place = self.fabric.repository
        for service, spec in self.fabric.services.items():
            source = self._write(self.initial / service, service, "1.0.0", broken=False)
            # As the controller packs it: on a test bed its repository is behind TLS.
            first = pack(source, f"https://{place.host}:{place.port}")
            for node in spec.instances:
                self.wanted[node, service] = OnNode(first)

    def release(self, service: str, *, broken: bool = False) -> Component:
        """Make the next version of a function and put it into the repository."""
        self._made += 1
        version = f"1.0.{self._made}"
        source = self._write(self.folder / "sources" / f"{service}-{version}", service, version, broken=broken)
        place = self.fabric.repository
        component = pack(source, f"http://{place.host}:{REPOSITORY_PORT}")
        name = component.recipe.name
        artifacts = self.repository / "artifacts" / name / version
        artifacts.mkdir(parents=True)
        for file, content in component.files.items():
            (artifacts / file).write_bytes(content)
        recipes = self.repository / "recipes"
        recipes.mkdir(exist_ok=True)
        (recipes / f"{name}-{version}.yaml").write_bytes(component.document)
        return component

    def job(self, node: str) -> NextJob:
        """A job that brings a node to what is wanted of it; `jobs` gives its deployment an id."""
        components, recipes = {}, {}
        for name, spec in self.fabric.services.items():
            if node in spec.instances:
                wanted = self.wanted[node, name]
                endpoint = ServiceEndpoint(str(spec.address), spec.port, spec.service_id, spec.protocol)
                served = ServiceConfiguration(service=name, concurrency=wanted.concurrency, endpoints={name: endpoint})
                components[spec.component] = ComponentDeployment(
                    component_version=wanted.component.recipe.version,
                    configuration_update=ConfigurationUpdate(merge=served.written() | {"note": wanted.note}),
                )
                recipes[spec.component] = RecipeSource(uri=wanted.component.uri, sha256=wanted.component.sha256)
        document = DeploymentDocument(deployment_id="", components=components, recipes=recipes)
        job_id = f"chaos-{secrets.token_hex(8)}"
        return NextJob(execution=JobExecution(job_id=job_id, status="QUEUED", job_document=document))

    def _write(self, folder: Path, service: str, version: str, *, broken: bool) -> Path:
        """Write a component's folder."""
        folder.mkdir(parents=True)
        name = self.fabric.services[service].component
        handler = HANDLER.read_text().replace('VERSION = "0"', f"VERSION = {json.dumps(version)}")
        (folder / "handler.py").write_text(BROKEN if broken else handler)
        recipe = RECIPE.format(
            name=name, version=version, service=service, concurrency=CONCURRENCY, timeout_ms=TIMEOUT_MS
        )
        (folder / "recipe.yaml").write_text(recipe)
        return folder
