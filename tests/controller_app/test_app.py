"""The controller as a process, with a real broker and fake nodes: it needs none of its peers to stay up."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import aiomqtt
import pytest

from controller.fabric.file import Fabric
from controller.observe.events import EndpointEvent
from controller.operator.client import Client, RefusedError
from hitless.cancellation import raise_if_cancelled
from hitless.mqtt import topics
from hitless.mqtt.messages import EndpointUpdate
from hitless.words import Reason
from tests.controller_app.fake_node import FakeNode
from tests.controller_app.support import ROOT, Running
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE, quickest, until_async


def test_with_nobody_there_it_says_so_quickly_and_ends_cleanly(running: Running) -> None:
    running.start()

    def asked() -> float:
        before = time.monotonic()
        running.status()
        return time.monotonic() - before

    began = time.monotonic()
    assert running.cli("status").returncode == 0
    told = time.monotonic() - began
    assert quickest(asked, below=told) < told, "less than a command takes that starts and asks once"
    status = running.status()
    assert status["broker"]["connected"] is False
    assert "refused" in status["broker"]["error"]
    assert status["switches"]["s1"]["connected"] is False
    assert status["services"]["web"]["instances"]["edge1"]["status"] == "unknown"
    with pytest.raises(RefusedError, match=r"switch s1.*web stays as it is"):
        running.client.migrate("web", "edge1")
    assert running.status()["services"]["web"]["held"] is False

    text = running.cli("status")
    assert text.returncode == 0
    assert "not connected: Connection refused" in text.stdout
    assert running.end() == 0
    assert not running.socket.exists()
    assert "Traceback" not in running.log.read_text()


def test_it_ends_at_once_also_when_the_broker_has_just_died(running: Running, broker: Mosquitto) -> None:
    def ended() -> float:
        """How long it takes to end, beside how long it takes to start."""
        began = time.monotonic()
        running.start()
        started = time.monotonic() - began
        asyncio.run(until_async(lambda: running.status()["broker"]["connected"], "not connected"))
        broker.kill()
        before = time.monotonic()
        assert running.end() == 0
        took = time.monotonic() - before
        broker.start()
        return took / started

    assert quickest(ended, below=2) < 2
    assert "never retrieved" not in running.log.read_text()


def test_nodes_get_their_deployment_once_also_over_a_restart(
    running: Running, fabric: Fabric, broker: Mosquitto
) -> None:
    async def scenario() -> None:
        async with FakeNode(fabric, "edge1") as edge1, FakeNode(fabric, "edge2") as edge2:
            running.start()
            await until_async(lambda: edge1.deployment and edge2.deployment, "no deployment came")
            await until_async(lambda: running.status()["nodes"]["edge1"]["deployment"] == "done", "not done")
            assert edge1.deployment is not None
            assert set(edge1.deployment.components) == {"org.example.Resize", "org.example.Web"}
            both = {"org.example.Resize": "RUNNING", "org.example.Web": "RUNNING"}
            await until_async(lambda: running.status()["nodes"]["edge1"]["components"] == both, "not told as running")
            await _nothing_new(edge1, 1)

            first = edge1.deployment.deployment_id
            assert running.end() == 0
            running.start()
            await until_async(lambda: running.status()["nodes"]["edge1"]["deployment"] == "done", "not done again")
            assert edge1.deployment.deployment_id == first
            await _nothing_new(edge1, 1)
        async with FakeNode(fabric, "edge1", epoch=2, deployment=edge1.deployment) as again:
            await until_async(
                lambda: running.status()["nodes"]["edge1"]["deployment"] == "done", "not done a third time"
            )
            await _nothing_new(again, 0)

    asyncio.run(scenario())


def test_a_component_is_restarted_on_one_node_after_the_other(
    running: Running, fabric: Fabric, broker: Mosquitto
) -> None:
    async def scenario() -> None:
        async with FakeNode(fabric, "edge1") as edge1:
            async with FakeNode(fabric, "edge2") as edge2:
                running.start()
                await until_async(
                    lambda: all("org.example.Web" in one["components"] for one in running.status()["nodes"].values()),
                    "not both nodes have it",
                )
                client = running.client
                both = await asyncio.to_thread(client.restart, "org.example.Web")
                assert (both.nodes, both.error) == (["edge1", "edge2"], None)
                assert both.message == "org.example.Web: restarted on edge1, edge2"
                one = await asyncio.to_thread(client.restart, "org.example.Web", "edge2")
                assert one.nodes == ["edge2"]
                assert edge1.restarts == ["org.example.Web"]
                assert edge2.restarts == ["org.example.Web"] * 2

                edge1.cannot_restart = "run exited with code 1"
                failed = await asyncio.to_thread(client.restart, "org.example.Web")
                assert (failed.nodes, failed.error) == ([], "not on edge1: run exited with code 1")
                assert len(edge2.restarts) == 2, "not on after a failure"
                edge1.cannot_restart = None
            await until_async(lambda: not running.status()["nodes"]["edge2"]["online"], "not seen to go")
            rest = await asyncio.to_thread(client.restart, "org.example.Web")
            assert (rest.nodes, rest.error) == (["edge1"], "not on edge2: offline")
            for wrong, told in (
                (("org.example.Wep",), "components: org.example.Resize, org.example.Web"),
                (("org.example.Web", "edge9"), "nodes: edge1, edge2"),
                (("org.example.Web", "edge2"), "edge2: offline; org.example.Web stays as it is"),
            ):
                with pytest.raises(RefusedError, match=told):
                    await asyncio.to_thread(client.restart, *wrong)

    asyncio.run(scenario())


async def _nothing_new(node: FakeNode, jobs: int) -> None:
    await node.tell_health()
    await asyncio.sleep(0.3)
    assert len(node.jobs) == jobs


def test_losing_the_broker_ends_nothing_and_its_return_restores_everything(
    running: Running, fabric: Fabric, broker: Mosquitto
) -> None:
    async def scenario() -> None:
        running.start()
        async with FakeNode(fabric, "edge1") as node:
            await until_async(lambda: node.deployment, "no deployment came")
            broker.kill()
            await until_async(lambda: running.status()["broker"]["connected"] is False, "the loss was not noticed")
            running.client.drain("web", "edge1")
            broker.start()
            await until_async(lambda: running.status()["broker"]["connected"], "it did not come back")
        async with FakeNode(fabric, "edge1", epoch=2) as node:
            await until_async(lambda: node.deployment, "no deployment came after the broker's return")
            await until_async(
                lambda: node.drains("org.example.Web"), "the drain that was asked for meanwhile never came"
            )

    asyncio.run(scenario())


def test_a_drain_reaches_the_node_and_survives_a_restart(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    async def scenario() -> None:
        running.start()
        async with FakeNode(fabric, "edge1") as node:
            await until_async(lambda: running.status()["nodes"]["edge1"]["online"], "never online")
            done = running.cli("drain", "web", "edge1")
            assert done.returncode == 0, done.stderr
            await until_async(lambda: node.drains("org.example.Web"), "not told to drain")
            assert node.shadows["org.example.Resize"].draining is False

            running.end(signal.SIGKILL)
            node.shadows.clear()
            running.start()
            await until_async(lambda: "org.example.Web" in node.shadows, "a restarted controller says nothing")
            assert node.shadows["org.example.Web"].draining is True
            assert running.status()["services"]["web"]["instances"]["edge1"]["draining"] is True
            running.client.drain("web", "edge1", undo=True)
            await until_async(lambda: node.drains("org.example.Web") is False, "the drain does not end")

    asyncio.run(scenario())


def test_where_switches_steer_clients_are_told_the_services_addresses(
    running: Running, fabric: Fabric, broker: Mosquitto
) -> None:
    running.start()
    web = asyncio.run(_retained_endpoint(fabric, "web"))
    assert (web.address, web.port, web.term) == ("10.96.0.2", 80, 1)
    running.end()
    running.start()
    assert asyncio.run(_retained_endpoint(fabric, "web", newer_than=web)).term == 2


async def _retained_endpoint(
    fabric: Fabric, service: str, newer_than: EndpointUpdate | None = None, to: str | None = None
) -> EndpointUpdate:
    """The endpoint that a client sees which comes now."""
    place = fabric.broker
    async with aiomqtt.Client(place.host, place.port, username="edge2", password="secret") as client:
        await client.subscribe(topics.ENDPOINT.of(service=service), qos=1)
        async with asyncio.timeout(PATIENCE):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                update = EndpointUpdate.decode(message.payload)
                if update.newer_than(newer_than) and to in (None, update.address):
                    return update
    raise AssertionError("the broker closed")


def test_by_reconfiguration_the_endpoint_the_callers_and_the_roles_follow_the_metrics(
    running: Running, fabric: Fabric, broker: Mosquitto
) -> None:
    async def scenario() -> None:
        running.start("--mode", "reconfiguration")
        async with AsyncExitStack() as stack:
            edge1 = await stack.enter_async_context(FakeNode(fabric, "edge1"))
            edge2 = await stack.enter_async_context(FakeNode(fabric, "edge2"))
            # The first that is heard of is the host.
            alone = asyncio.create_task(_emit({edge1: 0}))
            for service in ("resize", "web"):
                await until_async(
                    lambda of=service: running.status()["services"][of]["host"] == "edge1", "edge1 is no host"
                )
            alone.cancel()
            metrics = asyncio.create_task(_emit({edge1: 0, edge2: 100}))
            first = await _retained_endpoint(fabric, "resize", to="10.0.0.11")
            await until_async(
                lambda: _endpoint(edge2, "org.example.Web", "resize") == "10.0.0.11", "the caller is not told"
            )
            metrics.cancel()

            jobs = len(edge2.jobs)
            metrics = asyncio.create_task(_emit({edge1: 900, edge2: 100}))
            second = await _retained_endpoint(fabric, "resize", to="10.0.0.12")
            assert second.newer_than(first)
            assert second.reason == "BETTER: edge1 -> edge2"
            await until_async(
                lambda: _endpoint(edge2, "org.example.Web", "resize") == "10.0.0.12", "the caller is not told"
            )
            await until_async(lambda: edge1.role("org.example.Web") == "standby", "the old gateway is not told")
            await until_async(lambda: edge2.role("org.example.Web") == "host", "the new gateway is not told")
            assert len(edge2.jobs) == jobs + 1
            move = next(event for event in running.events(EndpointEvent) if event.to_node == "edge2")
            assert (move.from_node, move.reason) == ("edge1", Reason.BETTER)
            assert move.node in ("edge1", "edge2"), "whose report was the first after the dwell's end"
            assert move.sequence > 0
            metrics_text = await asyncio.to_thread(_prometheus, fabric)
            assert 'hitless_host{node="edge2",service="resize"} 1.0' in metrics_text
            assert (
                'hitless_migrations_total{mode="reconfiguration",reason="BETTER",service="resize"} 1.0' in metrics_text
            )
            assert 'hitless_rank{node="edge1",service="resize"} 64635.0' in metrics_text

            running.end(signal.SIGKILL)
            running.start("--mode", "reconfiguration")
            third = await _retained_endpoint(fabric, "resize", newer_than=second)
            assert (third.term, third.address) == (second.term + 1, "10.0.0.12"), "a restart moves nothing"

            await until_async(
                lambda: running.status()["services"]["resize"]["instances"]["edge1"]["status"] == "ready",
                "not heard again",
            )
            done = running.cli("pin", "resize", "edge1", "--json")
            assert done.returncode == 0, done.stderr
            fourth = await _retained_endpoint(fabric, "resize", newer_than=third, to="10.0.0.11")
            assert fourth.newer_than(third)
            metrics.cancel()

    asyncio.run(scenario())


def _prometheus(fabric: Fabric) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{fabric.metrics.port}/metrics", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def _endpoint(node: FakeNode, component: str, service: str) -> str | None:
    if node.deployment is None:
        return None
    update = node.deployment.components[component].configuration_update
    assert update is not None
    assert update.merge is not None
    return str(update.merge["endpoints"][service]["address"])


async def _emit(nodes: dict[FakeNode, int]) -> None:
    """Metrics of every service of the nodes, with this foreign cpu use, every 10 ms."""
    while True:
        for node, cpu in nodes.items():
            for service in node.fabric.services:
                await node.tell_metrics(service, cpu=cpu)
                raise_if_cancelled()
        await asyncio.sleep(0.01)


def test_a_silent_hosts_service_is_moved_by_reconfiguration(
    running: Running, fabric: Fabric, fabric_path: Path, broker: Mosquitto
) -> None:
    fabric_path.write_text(fabric_path.read_text().replace("stale_after_ms: 60000", "stale_after_ms: 1500"))

    async def silence(edge1: FakeNode, edge2: FakeNode) -> float:
        """Seconds from edge1's last metrics to the decision."""
        both = asyncio.create_task(_emit({edge1: 0, edge2: 900}))
        await until_async(lambda: running.status()["services"]["resize"]["host"] == "edge1", "edge1 is no host")
        both.cancel()
        before = time.monotonic_ns()
        alone = asyncio.create_task(_emit({edge2: 900}))
        await until_async(lambda: running.status()["services"]["resize"]["host"] == "edge2", "a silent host is kept")
        alone.cancel()
        move = [event for event in running.events(EndpointEvent) if event.service == "resize"][-1]
        assert (move.from_node, move.to_node, move.reason) == ("edge1", "edge2", Reason.STALE)
        return (move.time_ns - before) / 1e9

    async def scenario() -> float:
        async with FakeNode(fabric, "edge1") as edge1, FakeNode(fabric, "edge2") as edge2:
            least = await silence(edge1, edge2)
            for _ in range(2):  # a machine that was busy just then
                if least > 3:
                    least = min(least, await silence(edge1, edge2))
        return least

    running.start("--mode", "reconfiguration")
    assert asyncio.run(scenario()) < 3


def test_events_are_followed_and_written_to_the_file(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    running.start()
    command = [sys.executable, "-m", "controller", "events", "--follow", "--json", "--socket", str(running.socket)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        running.client.drain("web", "edge1")
        event = json.loads(follower.stdout.readline())
        assert (event["kind"], event["command"], event["service"]) == ("command", "drain", "web")
        assert running.end() == 0, "a follower must not keep the controller from ending"
        assert follower.wait(PATIENCE) == 0
    assert json.loads(running.event_log.read_text().splitlines()[0]) == event


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["migrate", "nobody", "edge1"], 1, "no service nobody in fabric small; services: resize, web"),
        (["drain", "web", "edge7"], 1, "service web has no instance on edge7; it has: edge1, edge2"),
        (["release", "web"], 0, ""),
        (["exclude", "edge7"], 1, "no node edge7 in fabric small; nodes: edge1, edge2"),
        (["exclude", "edge1"], 0, ""),
        (["include", "edge1", "--json"], 0, ""),
        (["pin", "web", "edge1"], 1, "switch s1"),
        (["migrate", "web"], 2, "Missing argument 'NODE'"),
    ],
)
def test_the_command_says_what_is_wrong_and_how_it_ended(
    running: Running, words: list[str], code: int, message: str
) -> None:
    running.start()
    done = running.cli(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_controllers_do_not_share_a_socket(running: Running, fabric_path: Path, tmp_path: Path) -> None:
    running.start()
    second = running.cli("controller", str(fabric_path), "--components", str(tmp_path / "components"))
    assert second.returncode == 1
    assert "another controller runs at" in second.stderr
    assert running.status()["fabric"] == "small"


def test_a_port_that_is_taken_is_named(running: Running, fabric: Fabric, fabric_path: Path, tmp_path: Path) -> None:
    running.start()
    second = running.cli(
        "controller",
        str(fabric_path),
        *("--components", str(tmp_path / "components"), "--state", str(tmp_path / "second")),
    )
    assert second.returncode == 1
    other = Client(tmp_path / "other.sock")
    command = [sys.executable, "-m", "controller", "controller", str(fabric_path), "--socket", str(other.path)]
    command += ["--components", str(tmp_path / "components"), "--state", str(tmp_path / "second")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{fabric.repository.port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not other.path.exists()


def test_without_a_controller_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "controller", "status", "--socket", str(tmp_path / "none.sock")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 3
    assert f"no controller at {tmp_path / 'none.sock'}: start one with hitless controller" in done.stderr
