"""Functions that are changed under load: every request is answered once, whatever becomes of the change."""

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hitless.client.blocking import BlockingClient
from hitless.wire.calls import Endpoint
from tests.agent.support import (
    NODE,
    AgentFolder,
    Controller,
    Repository,
    running_agent,
)
from tests.patience import PATIENCE, until
from tests.ports import free_port
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("CPU budgets need root")

BUDGET = f"test-updates-{os.getpid()}"
SERVICES = {"web": "tcp", "camera": "udp"}
RUN = (
    "EXECUTED={work:path}/executed"
    " exec python3 -m hitless.function --handler f.lambda_handler --artifacts {artifacts:path}"
)
HANDLER = """
import base64, json, os, time

def lambda_handler(event, context):
    number = event["rawQueryString"] or base64.b64decode(event["body"]).decode()
    with open(os.environ["EXECUTED"], "a") as file:
        file.write(number + "\\n")
    time.sleep(0.005)
    return json.dumps({"number": number, "version": "VERSION", "greeting": context.configuration["greeting"]})
"""


def name(service: str) -> str:
    return f"org.example.{service.capitalize()}"


@dataclass
class Load:
    """Clients that wait for each answer before they ask again."""

    ports: dict[str, int]
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {service: [] for service in SERVICES})
    problems: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _end: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        clients = [self._web, self._web, self._web, self._camera, self._camera]
        threads = [threading.Thread(target=client) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join(PATIENCE)

    def more(self) -> None:
        """Wait until each service has answered some more requests."""
        before = {service: len(got) for service, got in self.answers.items()}
        until(
            lambda: all(len(got) >= before[service] + 20 for service, got in self.answers.items()) or self.problems,
            "20 more answers of each service",
        )
        assert self.problems == []

    def _web(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["web"], timeout=PATIENCE)

        def ask(number: int) -> bytes:
            connection.request("GET", f"/?{number}")
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, (response.status, body)
            return body

        self._ask("web", ask)
        connection.close()

    def _camera(self) -> None:
        with BlockingClient() as client:
            endpoint = Endpoint(8, "127.0.0.1", self.ports["camera"])
            self._ask("camera", lambda number: client.invoke(endpoint, b"%d" % number).result())

    def _ask(self, service: str, ask: Callable[[int], bytes]) -> None:
        while not self._end.is_set():
            number = next(self._numbers)
            try:
                answer = json.loads(ask(number))
                assert answer["number"] == str(number)
            except Exception as error:
                self.problems.append(f"{service} {number}: {type(error).__name__}: {error}")
                return
            self.answers[service].append(answer)


@dataclass
class Bench:
    """A node with two functions."""

    own: AgentFolder
    told: Controller
    repository: Repository
    ports: dict[str, int]
    jobs: Iterator[int] = field(default_factory=count)

    def deploy(self, version: str, code: str = HANDLER, **merge: Any) -> dict[str, Any]:
        """Deploy a version of both functions; returns the job's end."""
        return self.told.result(self.offer(version, code, **merge))

    def offer(self, version: str, code: str, **merge: Any) -> str:
        """Begin to deploy a version of both functions; returns the job's name."""
        recipes, components = {}, {}
        endpoints = {
            service: {"address": "127.0.0.1", "port": self.ports[service], "service_id": number, "protocol": protocol}
            for number, (service, protocol) in enumerate(SERVICES.items(), 7)
        }
        for service in SERVICES:
            recipes[name(service)] = self.repository.publish(
                name(service),
                version,
                {"f.py": code.replace("VERSION", version)},
                script=RUN,
                configuration={"service": service, "greeting": "hello"},
            )
            update = {"merge": json.dumps({"endpoints": endpoints, **merge})}
            components[name(service)] = {"componentVersion": version, "configurationUpdate": update}
        job = f"job-{next(self.jobs)}"
        self.told.offer(job, components, recipes)
        return job

    def restart(self, service: str) -> dict[str, Any]:
        """Restart a function as the operator; returns what the node tells in the end."""
        topic = f"components/{name(service)}/restart"
        self.told.client.publish(
            f"hitless/things/{NODE}/{topic}", json.dumps({"clientToken": "once"}), qos=1
        ).wait_for_publish(PATIENCE)
        ended: list[dict[str, Any]] = until(lambda: self.told.of(f"{topic}/ended"), "the restart's end")
        return ended[-1]

    def workers(self, service: str) -> set[int]:
        """Processes of a function, its supervisor among them."""
        group = Hierarchy.detect().node(BUDGET).child(name(service))
        return {pid for launch in group.children() for pid in launch.pids()}

    def weights(self, service: str) -> list[int]:
        """What CPU time the groups of a function's launches are worth, the oldest first."""
        launches = Hierarchy.detect().node(BUDGET).child(name(service)).children()
        launches.sort(key=lambda launch: int(str(launch).rpartition("-")[2]))
        files = [
            launch.paths["cpu"] / "cpu.shares" if launch.version == 1 else launch.paths["unified"] / "cpu.weight"
            for launch in launches
        ]
        return [int(file.read_text()) for file in files if file.exists()]

    def executed(self, service: str) -> Counter[str]:
        """How often each request was executed."""
        return Counter((self.own.root / "work" / name(service) / "executed").read_text().split())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    reports = {"address": "127.0.0.1", "interval_ms": 10}
    with running_agent(tmp_path, BUDGET, 1.5, reports=reports, metrics=True) as running:
        ports = {service: free_port() for service in SERVICES}
        yield Bench(running.own, running.controller, running.repository, ports)


def test_no_request_is_lost_however_a_function_is_changed(bench: Bench) -> None:
    assert bench.deploy("1.0.0")["status"] == "SUCCEEDED"
    load = Load(bench.ports)
    with load.running():
        for turn in range(2, 8):
            load.more()
            assert bench.deploy(f"{turn}.0.0", concurrency=1 + turn % 3)["status"] == "SUCCEEDED"
            for service in SERVICES:
                until(lambda s=service, n=2 + turn % 3: len(bench.workers(s)) == n, "the old launch has gone")  # type: ignore[misc]

        # Live: the processes stay, as many as are wanted are warm when the deployment has succeeded.
        before = {service: bench.workers(service) for service in SERVICES}
        load.more()
        assert bench.deploy("7.0.0", concurrency=3, greeting="bonjour")["status"] == "SUCCEEDED"
        assert all(before[service] < bench.workers(service) for service in SERVICES)
        before = {service: bench.workers(service) for service in SERVICES}
        assert all(len(pids) == 1 + 3 for pids in before.values())
        load.more()
        load.more()
        assert load.answers["web"][-1] == {**load.answers["web"][-1], "version": "7.0.0", "greeting": "bonjour"}

        # A version that cannot start leaves the one that serves as it is.
        end = bench.deploy("8.0.0", "1/0", greeting="never")
        assert end["statusDetails"]["detailedStatus"] == "FAILED_ROLLBACK_COMPLETE"
        assert "exited with code" in end["statusDetails"]["reason"]
        until(lambda: {service: bench.workers(service) for service in SERVICES} == before, "only the old ones are left")
        load.more()
        assert load.answers["web"][-1]["greeting"] == "bonjour"

        assert bench.restart("web") == {"clientToken": "once"}
        until(lambda: len(bench.workers("web")) == 1 + 3, "the old launch has gone")
        assert not bench.workers("web") & before["web"]
        load.more()
    assert load.problems == []
    for service, answers in load.answers.items():
        assert len({answer["version"] for answer in answers}) == 7
        executed = bench.executed(service)
        assert set(executed.values()) == {1}, "executed once"
        assert set(executed) == {answer["number"] for answer in answers}


def test_requests_come_before_the_start_of_a_new_version(bench: Bench) -> None:
    assert bench.deploy("1.0.0")["status"] == "SUCCEEDED"
    (usual,) = bench.weights("web")
    gate = 'import os, time\nwhile not os.path.exists(os.environ["EXECUTED"] + ".go"):\n    time.sleep(0.01)\n'
    job = bench.offer("2.0.0", gate + HANDLER)
    until(lambda: all(len(bench.workers(service)) > 2 for service in SERVICES), "the new launches")
    for service in SERVICES:
        until(lambda s=service: len(bench.weights(s)) == 2, "its group")  # type: ignore[misc]
        serving, coming = bench.weights(service)
        assert serving == usual
        assert coming <= usual / 5
        (bench.own.root / "work" / name(service) / "executed.go").touch()
    assert bench.told.result(job)["status"] == "SUCCEEDED"
    for service in SERVICES:
        until(lambda s=service: bench.weights(s) == [usual], "the old launch has gone")  # type: ignore[misc]


def test_a_broken_function_is_refused_at_once_until_it_starts_again(bench: Bench) -> None:
    code = 'import os\nassert not os.path.exists(os.environ["EXECUTED"] + ".down"), "the sensor is off"\n' + HANDLER
    assert bench.deploy("1.0.0", code)["status"] == "SUCCEEDED"
    down = bench.own.root / "work" / name("web") / "executed.down"
    down.touch()
    for pid in bench.workers("web"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: bench.told.states().get(name("web")) == "BROKEN", "broken")

    def get() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", bench.ports["web"], timeout=PATIENCE)
        connection.request("GET", "/?1")
        response = connection.getresponse()
        return response.status, response.read().decode()

    status, body = get()
    assert status == 503
    assert "run exited with code" in body
    until(lambda: not bench.told.metrics("web")["ready"], "a report that says not ready")
    (health,) = (
        one
        for one in bench.told.of("greengrassv2/health/json")[-1]["components"]
        if one["componentName"] == name("web")
    )
    assert "run exited with code" in health["statusDetails"]

    down.unlink()
    assert bench.restart("web") == {"clientToken": "once"}
    assert get()[0] == 200
    until(lambda: bench.told.metrics("web")["ready"], "a report that says ready")
    assert bench.told.states() == {name(service): "RUNNING" for service in SERVICES}
