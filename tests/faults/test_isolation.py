"""Components that would harm their node: what they install, read, eat and spawn stays their own."""

import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hitless.client.blocking import BlockingClient
from hitless.wire.calls import CallError, Endpoint
from tests.agent.support import (
    AgentFolder,
    Controller,
    Repository,
    alive,
    children_of,
    running_agent,
)
from tests.patience import PATIENCE, until
from tests.ports import free_port
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("users and control groups need root")

BUDGET = f"test-isolation-{os.getpid()}"
SECRET = "what-only-the-agent-may-know"
PROCESSES = 64
SKIP = {"action": "SKIP_NOTIFY_COMPONENTS"}


def wheel(version: str) -> bytes:
    """A package `tiny` that knows its version."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("tiny.py", f"VERSION = {version!r}\n")
        info = f"tiny-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return packed.getvalue()


def wheel_name(version: str) -> str:
    return f"tiny-{version}-py3-none-any.whl"


@dataclass
class Bench:
    """An agent that deploys what a test publishes."""

    own: AgentFolder
    agent: subprocess.Popen[bytes]
    controller: Controller
    repository: Repository
    jobs: int = 0

    def publish(self, name: str, lifecycle: Mapping[str, Any], files: Mapping[str, bytes], **default: Any) -> Any:
        """Put a component there; returns its source for `deploy`."""
        artifacts = []
        for file_name, content in files.items():
            place = self.repository.folder / name / file_name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
            uri = f"{self.repository.url}/{name}/{file_name}"
            artifacts.append({"Uri": uri, "Digest": digest, "Algorithm": "SHA-256"})
        recipe = json.dumps(
            {
                "RecipeFormatVersion": "2020-01-25",
                "ComponentName": name,
                "ComponentVersion": "1.0.0",
                "ComponentConfiguration": {"DefaultConfiguration": default},
                "Manifests": [{"Platform": {"os": "linux"}, "Lifecycle": lifecycle, "Artifacts": artifacts}],
            }
        )
        file = self.repository.folder / f"{name}.yaml"
        file.write_text(recipe)
        return {"uri": f"{self.repository.url}/{file.name}", "sha256": hashlib.sha256(recipe.encode()).hexdigest()}

    def deploy(self, sources: Mapping[str, Any], **run_with: Any) -> dict[str, Any]:
        """Have the node run just these components, and wait for the result."""
        self.jobs += 1
        wanted = {name: {"componentVersion": "1.0.0", "runWith": run_with} for name in sources}
        self.controller.offer(f"job-{self.jobs}", wanted, sources, componentUpdatePolicy=SKIP)
        return self.controller.result(f"job-{self.jobs}")

    def output(self, name: str, ending: str) -> str:
        """What a component has written, once it has written `ending`."""
        file = self.own.logs / f"{name}.log"
        until(lambda: file.exists() and ending in file.read_text(), f"{ending} in {file.name}")
        return file.read_text()

    def gateway(self) -> int:
        """The process of the only gateway."""
        (pid,) = [
            pid
            for pid in children_of(self.agent.pid)
            if "greengrass_agent.gateway" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        return pid


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running_agent(
        tmp_path_factory.mktemp("isolation"),
        BUDGET,
        1.0,
        environment={"CLOUD_TOKEN": SECRET},
        reports={"address": "127.0.0.1", "interval_ms": 50},
        allow_privilege=True,
        component_processes=PROCESSES,
    ) as running:
        yield Bench(running.own, running.process, running.controller, running.repository)


def test_what_components_install_stays_in_them(bench: Bench) -> None:
    """Two versions of a package on one node, and not a file more in the agent's own environment."""

    def packages() -> list[str]:
        return sorted(str(path) for path in Path(sys.prefix).glob("lib/python3*/site-packages/*"))

    before = packages()
    sources = {}
    for name, version in (("Old", "1.0"), ("New", "2.0")):
        install = f"pip install --quiet --no-index {{artifacts:path}}/{wheel_name(version)}"
        run = "python3 -c 'import hitless.function, numpy, tiny; print(\"tiny\", tiny.VERSION)'"
        lifecycle = {"install": {"Script": install}, "run": {"Script": run}}
        sources[name] = bench.publish(name, lifecycle, {wheel_name(version): wheel(version)})
    assert bench.deploy(sources)["status"] == "SUCCEEDED"
    assert bench.output("Old", "tiny").splitlines()[-1] == "tiny 1.0"
    assert bench.output("New", "tiny").splitlines()[-1] == "tiny 2.0"
    assert packages() == before
    assert subprocess.run([sys.executable, "-c", "import tiny"], capture_output=True, check=False).returncode != 0


def test_requirements_are_installed_at_deployment_or_it_fails_with_pips_reason(bench: Bench) -> None:
    shelf = bench.repository.folder / "shelf"
    shelf.mkdir()
    (shelf / wheel_name("3.0")).write_bytes(wheel("3.0"))

    def source(version: str) -> Any:
        requirements = f"--no-index\n--find-links {bench.repository.url}/shelf/\ntiny=={version}\n"
        run = "python3 -c 'import tiny; print(tiny.VERSION)'; touch {work:path}/../../x $VIRTUAL_ENV/x; echo done"
        return bench.publish("Picky", {"run": {"Script": run}}, {"requirements.txt": requirements.encode()})

    assert bench.deploy({"Picky": source("3.0")})["status"] == "SUCCEEDED"
    output = bench.output("Picky", "done")
    assert output.startswith("3.0\n")
    assert output.count("denied") + output.count("Read-only") == 2, "what others may share is not the component's"
    details = bench.deploy({"Picky": source("4.0")})["statusDetails"]
    assert details["detailedStatus"] == "FAILED_NO_STATE_CHANGE"
    assert "tiny==4.0" in details["reason"]
    assert len(list((bench.own.root / "packages/environments").iterdir())) == 1, "nothing half is left"


def test_a_component_sees_and_touches_only_its_own(bench: Bench) -> None:
    root, agent = bench.own.root, bench.agent.pid
    (root / "keys.json").touch()
    (root / "work/Neighbour").mkdir(parents=True, exist_ok=True)
    (root / "work/Neighbour/diary").write_text(SECRET)
    (root / "work/Neighbour/diary").chmod(0o644)
    forbidden = [
        f"cat {root}/keys.json",
        f"cat {root}/deployment.json",
        f"cat {bench.own.config}",
        f"cat {root}/work/Neighbour/diary",
        f"ls {bench.own.logs}/*",
        f"ls {root}/run | grep -vx ipc",
        f"touch {root}/run/ipc/x",
        f"kill -0 {agent}",
        f"cat /proc/{agent}/environ",
        "touch {artifacts:path}/note.txt",
        "mount -t tmpfs none {work:path}",
    ]
    script = "; ".join(f"{command} && echo HARMED-{number}" for number, command in enumerate(forbidden))
    script += "; env; id -u; grep -E 'NoNewPrivs|CapBnd' /proc/self/status; cat {artifacts:path}/note.txt;"
    script += " ls {artifacts:path}/__pycache__;"
    script += " echo mine >{work:path}/note; cat {work:path}/note; cat /proc/self/oom_score_adj; echo end; "
    privileged = {"Script": "id -u >{work:path}/uid", "RequiresPrivilege": True}
    source = bench.publish(
        "Curious", {"install": privileged, "run": {"Script": script}}, {"note.txt": b"read me\n", "sentence.py": b""}
    )
    assert bench.deploy({"Curious": source})["status"] == "SUCCEEDED"
    output = bench.output("Curious", "\nend\n")
    assert "HARMED" not in output
    assert "sentence.cpython" in output, "what it cannot compile is compiled"
    assert SECRET not in output
    lines = output.splitlines()
    assert {"read me", "mine", "500", f"HOME={root}/work/Curious", "NoNewPrivs:\t1"} <= set(lines)
    assert f"CapBnd:\t{0:016x}" in lines
    uid = int(next(line for line in lines if line.isdecimal()))
    assert uid == (root / "work/Curious").stat().st_uid != 0
    assert (root / "work/Curious/uid").read_text() == "0\n", "the owner of this node allows privilege"


HANDLER = b"""
import os

def lambda_handler(event, context):
    if event.get("isBase64Encoded") and len(event["body"]) > 100:
        kept = bytearray(os.urandom(1 << 20)) * 400
    return str(os.getpid())
"""


def test_a_function_that_takes_too_much_memory_is_all_that_ends(bench: Bench) -> None:
    port = free_port()
    run = "exec python3 -m hitless.function --handler hungry.lambda_handler --artifacts {artifacts:path}"
    endpoints = {"hungry": {"address": "127.0.0.1", "port": port, "service_id": 7, "protocol": "udp"}}
    source = bench.publish(
        "Hungry", {"run": {"Script": run}}, {"hungry.py": HANDLER}, service="hungry", endpoints=endpoints
    )
    assert (
        bench.deploy({"Hungry": source}, systemResourceLimits={"memory": 96 << 10, "cpus": 0.5})["status"]
        == "SUCCEEDED"
    )
    client, here = BlockingClient(), Endpoint(7, "127.0.0.1", port)
    first, gateway = client.invoke(here, b"x", PATIENCE).result(), bench.gateway()
    with pytest.raises(CallError):
        client.invoke(here, b"x" * 1000, 5.0).result()
    until(lambda: not alive(int(json.loads(first))), "the end of the worker")

    def served() -> bytes | None:
        with contextlib.suppress(CallError):
            return client.invoke(here, b"x", 5.0).result()
        return None

    second = until(served, "a worker in place of the one that ended")
    assert second != first
    assert bench.gateway() == gateway
    assert bench.agent.poll() is None
    for pid in (bench.agent.pid, gateway):
        # Less than nothing needs a right that a container may lack.
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) <= 0, "the node's own go last"
    group = Hierarchy.detect().node(BUDGET).child("Hungry")

    def cores() -> float:
        return min(one.budget_cores() for one in (group, *group.children()))

    assert cores() == pytest.approx(0.5)
    bench.deploy({"Hungry": source}, systemResourceLimits={"memory": 96 << 10, "cpus": 0.4})
    assert cores() == pytest.approx(0.4)
    assert served() == second, "a change of limits needs no restart"


def test_a_fork_bomb_is_bounded_and_can_be_removed(bench: Bench) -> None:
    bomb = b"""
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except BlockingIOError:
    print("forked", count, flush=True)
time.sleep(600)
"""
    source = bench.publish("Bomb", {"run": {"Script": "python3 {artifacts:path}/bomb.py"}}, {"bomb.py": bomb})
    assert bench.deploy({"Bomb": source})["status"] == "SUCCEEDED"
    forked = int(bench.output("Bomb", "forked").split()[-1])
    assert PROCESSES // 2 < forked < PROCESSES
    group = Hierarchy.detect().node(BUDGET).child("Bomb")
    inside = {pid for one in (group, *group.children()) for pid in one.pids()}
    assert len(inside) > forked
    assert bench.deploy({})["status"] == "SUCCEEDED"
    assert not any(alive(pid) for pid in inside)
