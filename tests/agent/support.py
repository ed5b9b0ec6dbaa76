"""What the agent's tests stand on: a broker, a repository, a controller's voice, the agent's process."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from greengrass_agent.emitter.settings import CgroupSettings
from greengrass_agent.host.cgroup import Group
from tests.mosquitto import Mosquitto, mosquitto
from tests.patience import PATIENCE, until
from tests.ports import free_port
from topologies.cgroups import Hierarchy

ROOT = Path(__file__).resolve().parents[2]
NODE = "n1"


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, by its own pid."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@dataclass
class Repository:
    """Components as a repository serves them."""

    folder: Path
    url: str

    def publish(
        self,
        name: str,
        version: str,
        files: Mapping[str, str],
        *,
        script: str,
        configuration: Mapping[str, Any],
        wrong_digest: bool = False,
    ) -> dict[str, str]:
        """Put a component there; returns the `recipes` entry of a deployment."""
        artifacts = []
        for file_name, content in files.items():
            place = self.folder / name / version / file_name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
            digest = hashlib.sha256(b"another" if wrong_digest else content.encode()).digest()
            artifacts.append(
                {
                    "Uri": f"{self.url}/{name}/{version}/{file_name}",
                    "Digest": base64.b64encode(digest).decode(),
                    "Algorithm": "SHA-256",
                }
            )
        recipe = json.dumps(
            {
                "RecipeFormatVersion": "2020-01-25",
                "ComponentName": name,
                "ComponentVersion": version,
                "ComponentConfiguration": {"DefaultConfiguration": dict(configuration)},
                "Manifests": [
                    {"Platform": {"os": "linux"}, "Lifecycle": {"run": {"Script": script}}, "Artifacts": artifacts}
                ],
            },
            indent=1,
        )
        file = self.folder / f"{name}-{version}.yaml"
        file.write_text(recipe)
        return {"uri": f"{self.url}/{file.name}", "sha256": hashlib.sha256(recipe.encode()).hexdigest()}


@contextmanager
def repository(folder: Path, address: str = "127.0.0.1") -> Iterator[Repository]:
    folder.mkdir()
    server = ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Repository(folder, f"http://{address}:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Controller:
    """The controller's voice and ears on the broker."""

    client: paho.Client
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def of(self, suffix: str) -> list[dict[str, Any]]:
        """The payloads heard on a topic of the node so far."""
        topic = f"hitless/things/{NODE}/{suffix}"
        return [payload for heard, payload in self.heard if heard == topic]

    def offer(self, job: str, components: Mapping[str, Any], recipes: Mapping[str, Any], **policies: Any) -> None:
        """Name the node's next job."""
        document = {
            "deploymentId": f"deployment-of-{job}",
            "components": components,
            "recipes": recipes,
            "deploymentPolicies": policies,
        }
        execution = {"jobId": job, "status": "QUEUED", "jobDocument": document}
        self.client.publish(
            f"hitless/things/{NODE}/jobs/notify-next", json.dumps({"execution": execution}), qos=1
        ).wait_for_publish(PATIENCE)

    def result(self, job: str) -> dict[str, Any]:
        """The job's end."""

        def end() -> dict[str, Any] | None:
            updates = self.of(f"jobs/{job}/update")
            return next((one for one in updates if one["status"] != "IN_PROGRESS"), None)

        found: dict[str, Any] = until(end, f"the end of job {job}")
        return found

    def shadow(self, component: str, version: int, report_key: str | None = None, **state: Any) -> None:
        """Want a state of a component, and hand it the key that the state names."""
        self.client.publish(
            f"hitless/things/{NODE}/shadow/name/{component}/update/delta",
            json.dumps({"version": version, "state": state} | ({"reportKey": report_key} if report_key else {})),
            qos=1,
        ).wait_for_publish(PATIENCE)

    def metrics(self, service: str) -> dict[str, Any]:
        """The newest metrics of a service; waits for the first."""
        heard: list[dict[str, Any]] = until(lambda: self.of(f"metrics/{service}"), f"metrics of {service}")
        return heard[-1]

    def states(self) -> dict[str, str]:
        """Component -> state, by the last health."""
        health = self.of("greengrassv2/health/json")
        return {one["componentName"]: one["status"] for one in health[-1]["components"]} if health else {}


@contextmanager
def controller(port: int, address: str = "127.0.0.1") -> Iterator[Controller]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    own = Controller(client)
    client.on_message = lambda _client, _data, message: own.heard.append((message.topic, json.loads(message.payload)))
    client.connect(address, port)
    client.subscribe("hitless/#", 1)
    client.loop_start()
    try:
        yield own
    finally:
        client.disconnect()
        client.loop_stop()


def cgroup_setting(group: Group) -> dict[str, Any]:
    """A control group as settings name it."""
    return CgroupSettings.of(group).model_dump(mode="json")


@dataclass
class AgentFolder:
    """An agent's configuration and what it leaves."""

    root: Path
    logs: Path
    config: Path


def agent_folder(folder: Path, budget: str, settings: Mapping[str, Any]) -> AgentFolder:
    """Write an agent's configuration. The root is short: Unix sockets live in it."""
    # Not below tmp_path: a Unix socket's path has room for 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="agent-", dir="/tmp"))
    config = folder / "agent.json"
    config.write_text(
        json.dumps(
            {
                "thing": NODE,
                "node_id": 1,
                "root": str(root),
                "log_dir": str(folder / "logs"),
                "cgroup": cgroup_setting(Hierarchy.detect().node(budget)),
                **settings,
            }
        )
    )
    return AgentFolder(root, folder / "logs", config)


def agent_command(own: AgentFolder) -> list[str]:
    return [sys.executable, "-m", "greengrass_agent", "--node", NODE, "--config", str(own.config)]


@dataclass
class RunningAgent:
    """An agent, and all that it talks to."""

    own: AgentFolder
    process: subprocess.Popen[bytes]
    controller: Controller
    repository: Repository
    broker: Mosquitto


@contextmanager
def running_agent(
    folder: Path,
    budget: str,
    cores: float,
    *,
    metrics: bool = False,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[RunningAgent]:
    """An agent with a budget on 127.0.0.1 that has asked for its first job, its settings `settings` but for the usual.

    It has `environment` beside the test's own; with `metrics`, its emitter reports to the broker, too.
    """
    port = free_port()
    Hierarchy.detect().create(budget, cores)
    broker_place = {"host": "127.0.0.1", "port": port}
    usual = {
        "node_address": "127.0.0.1",
        "broker": broker_place,
        "component_broker": broker_place,
        "mode": "reconfiguration",
    }
    if metrics:
        usual["metrics_broker"] = broker_place
    own = agent_folder(folder, budget, usual | settings)
    try:
        with (
            mosquitto(folder, port=port) as broker,
            repository(folder / "repository") as components,
            controller(port) as voice,
            child(agent_command(own), cwd=ROOT, env=os.environ | (environment or {})) as process,
        ):
            until(lambda: voice.of("jobs/start-next"), "the agent asks for a job")
            yield RunningAgent(own, process, voice, components, broker)
    finally:
        Hierarchy.detect().remove(budget)
        shutil.rmtree(own.root)


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`, and theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                found += [int(entry.name), *children_of(int(entry.name))]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
