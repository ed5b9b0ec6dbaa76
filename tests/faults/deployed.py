"""A node whose deployments meet trouble: its agent, which can be killed and started again, a controller's voice, and a
repository that sends no more than it is let.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.agent.support import ROOT, AgentFolder, Controller, agent_command, agent_folder, controller
from tests.mosquitto import mosquitto
from tests.patience import PATIENCE, until
from topologies.cgroups import Hierarchy


@dataclass
class Shelf:
    """The repository. What is held back is sent up to its middle."""

    files: dict[str, bytes] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""
    url: str = ""

    def recipe(
        self,
        name: str,
        version: str,
        lifecycle: dict[str, Any],
        *,
        artifact: bytes | None = None,
        needs: dict[str, str] | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        """Put a component there; returns the `recipes` entry of a deployment."""
        artifacts = []
        if artifact is not None:
            self.files[f"/{name}/{version}/data"] = artifact
            digest = base64.b64encode(hashlib.sha256(artifact).digest()).decode()
            artifacts = [{"Uri": f"{self.url}/{name}/{version}/data", "Digest": digest, "Algorithm": "SHA-256"}]
        text = json.dumps(
            {
                "RecipeFormatVersion": "2020-01-25",
                "ComponentName": name,
                "ComponentVersion": version,
                "ComponentConfiguration": {"DefaultConfiguration": configuration or {}},
                "ComponentDependencies": {one: {"VersionRequirement": wanted} for one, wanted in (needs or {}).items()},
                "Manifests": [{"Platform": {"os": "linux"}, "Lifecycle": lifecycle, "Artifacts": artifacts}],
            }
        ).encode()
        self.files[f"/{name}-{version}"] = text
        return {"uri": f"{self.url}/{name}-{version}", "sha256": hashlib.sha256(text).hexdigest()}


@contextmanager
def shelf() -> Iterator[Shelf]:
    own = Shelf()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            content = own.files[self.path]
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            middle = max(start, len(content) // 2)
            self.wfile.write(content[start:middle])
            own.asked.append((self.path, asked))
            while self.path in own.held and not ended.wait(0.01):
                pass
            self.wfile.write(content[middle:])

        def handle(self) -> None:
            with suppress(OSError):  # its client may be killed
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    own.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield own
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


@dataclass
class Node:
    """The node, without a network and functions of its own: what is deployed are plain scripts."""

    own: AgentFolder
    controller: Controller
    shelf: Shelf
    log: Path
    agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent, and wait until it asks for its job."""
        count = len(self.controller.of("jobs/start-next"))
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(agent_command(self.own), cwd=ROOT, stderr=log)

        def asked() -> bool:
            assert self.agent is not None
            assert self.agent.poll() is None, self.log.read_text()
            return len(self.controller.of("jobs/start-next")) > count

        until(asked, "the agent asks for its job")

    def kill(self) -> None:
        """Kill the agent."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()

    def end(self) -> None:
        """End the agent."""
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
            self.agent.wait(PATIENCE)

    def offer(self, job: str, versions: dict[str, str], recipes: dict[str, dict[str, str]], **merge: Any) -> None:
        """Name a job; `merge` is a change of configuration of all components."""
        update = {"configurationUpdate": {"merge": json.dumps(merge)}} if merge else {}
        components = {name: {"componentVersion": version, **update} for name, version in versions.items()}
        self.controller.offer(job, components, recipes)

    def result(self, job: str) -> tuple[str, str]:
        """How a job ended: detailed status and reason."""
        details = self.controller.result(job)["statusDetails"]
        return details["detailedStatus"], details.get("reason", "")

    def component(self, name: str) -> dict[str, Any]:
        """A component by the last health; empty if it is not there."""
        told = self.controller.of("greengrassv2/health/json")
        return next((one for one in told[-1]["components"] if one["componentName"] == name), {}) if told else {}

    def is_at(self, name: str, version: str, state: str) -> bool:
        found = self.component(name)
        return (found.get("version"), found.get("status")) == (version, state)


@contextmanager
def node(folder: Path, **reports: int) -> Iterator[Node]:
    """A node whose agent is not started yet; `reports` are settings of its reports."""
    budget = f"test-deployed-{os.getpid()}"
    Hierarchy.detect().create(budget, 0.6)
    with mosquitto(folder / "broker") as broker, shelf() as files, controller(broker.port) as voice:
        own = agent_folder(
            folder,
            budget,
            {
                "node_address": "127.0.0.1",
                "broker": {"host": "127.0.0.1", "port": broker.port},
                "reports": {"address": "127.0.0.1", **reports},
                "mode": "reconfiguration",
                "run_as": "root",  # the scripts write into the tests' own folders
            },
        )
        made = Node(own, voice, files, folder / "agent.log")
        try:
            yield made
        finally:
            made.end()
            Hierarchy.detect().remove(budget)
            shutil.rmtree(own.root)
