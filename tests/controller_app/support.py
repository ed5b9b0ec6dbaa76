"""A small fabric, small components, a real broker and a controller as a process, to build tests from."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from controller.observe.events import Event
from controller.operator.client import Client, NoControllerError
from hitless.mqtt.broker import Credentials
from tests.patience import PATIENCE
from topologies.processes import Process, start

EventType = TypeVar("EventType", bound=Event)

ROOT = Path(__file__).resolve().parents[2]
IDENTITIES = [Credentials(username=name, password="secret") for name in ("controller", "edge1", "edge2")]

FABRIC = """\
fabric: small
gateway: {{address: 10.0.0.254, mac: "02:00:00:00:ff:fe"}}
broker: {{host: 127.0.0.1, port: {broker}}}
repository: {{host: 127.0.0.1, port: {repository}}}
metrics: {{host: 127.0.0.1, port: {metrics}}}
switches:
  s1: {{device_id: 1, p4runtime: "127.0.0.1:{p4runtime}"}}
hosts:
  edge1: {{switch: s1, port: 1, address: 10.0.0.11, mac: "02:00:00:00:00:11"}}
  edge2: {{switch: s1, port: 2, address: 10.0.0.12, mac: "02:00:00:00:00:12"}}
nodes:
  edge1: {{node_id: 1}}
  edge2: {{node_id: 2}}
services:
  resize:
    service_id: 1
    index: 1
    address: 10.96.0.1
    port: 9000
    protocol: udp
    affinity: request
    component: org.example.Resize
    policy: {{single: {{margin: 400, dwell_ms: 1000}}}}
    score: {{cpu: 0}}
    instances: {{edge1: {{member: 0}}, edge2: {{member: 1}}}}
  web:
    service_id: 2
    index: 2
    address: 10.96.0.2
    port: 80
    protocol: tcp
    component: org.example.Web
    policy: {{single: {{margin: 400, dwell_ms: 3000}}}}
    score: {{cpu: 0}}
    instances: {{edge1: {{member: 0}}, edge2: {{member: 1}}}}
"""

RECIPE = """\
RecipeFormatVersion: "2020-01-25"
ComponentName: {name}
ComponentVersion: 1.0.0
ComponentConfiguration:
  DefaultConfiguration:
    service: {service}
    endpoints: {endpoints}
Manifests:
  - Platform: {{os: linux}}
    Lifecycle:
      run: exec python3 -m hitless.function --handler main.lambda_handler --artifacts {{artifacts:path}}
    Artifacts:
      - Uri: s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/main.py
"""


@dataclass(frozen=True)
class Ports:
    """Ports of the small fabric; nobody listens on them yet."""

    broker: int
    repository: int
    metrics: int
    p4runtime: int


def write_component(root: Path, name: str, service: str, endpoints: str = "{}") -> Path:
    """A component's folder below `root`."""
    folder = root / service
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE.format(name=name, service=service, endpoints=endpoints))
    (folder / "main.py").write_text("def lambda_handler(event, context):\n    return event\n")
    gdk = {"component": {name: {"author": "example", "version": "1.0.0", "build": {"build_system": "zip"}}}}
    (folder / "gdk-config.json").write_text(json.dumps(gdk | {"gdk_version": "1.0.0"}))
    return folder


class Running:
    """A controller process, which can be ended and started again with the same state."""

    def __init__(self, folder: Path, fabric: Path, components: Path) -> None:
        self.socket = folder / "c.sock"
        self.log = folder / "controller.log"
        self.event_log = folder / "events.ndjson"
        credentials = folder / "credentials.json"
        credentials.write_text(json.dumps({"username": "controller", "password": "secret"}))
        self._command = [sys.executable, "-m", "controller", "controller", str(fabric)]
        self._command += ["--components", str(components), "--socket", str(self.socket)]
        self._command += ["--credentials", str(credentials), "--state", str(folder / "state")]
        self._command += ["--event-log", str(self.event_log)]
        self.client = Client(self.socket)
        self.process: Process | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        self.process = start("controller", [*self._command, *options], self.log, cwd=ROOT)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.status()
                return
            except NoControllerError:
                self.process.check()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; returns its exit code."""
        assert self.process is not None
        self.process.signal(number)
        return self.process.handle.wait(PATIENCE)

    def status(self) -> dict[str, Any]:
        return self.client.status().model_dump(mode="json")

    def events(self, kind: type[EventType]) -> list[EventType]:
        return [event for event in self.client.events() if isinstance(event, kind)]

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `hitless` against it."""
        command = [sys.executable, "-m", "controller", *words, "--socket", str(self.socket)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
