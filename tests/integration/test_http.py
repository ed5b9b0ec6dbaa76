"""wrk, with connections kept alive, notices nothing of a function's moves."""

import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.bench.goodput import SENDER
from experiments.migration.disturbance import disturb
from experiments.native.compiling import compile_program
from experiments.wrk import read_wrk
from tests.hitless.gateway import BOOTSTRAPS
from tests.integration.support import (
    FABRIC,
    connections,
    each_target,
    fabric_up,
    hitless,
    needs_root,
    on_host,
)
from tests.patience import until_async
from topologies.processes import in_namespace
from topologies.testbed import APPS, Testbed

CONNECTIONS = 4
SERVICE_PORT = 80
LONGEST_S = 60
AFTERWARDS_S = 2.0


async def during_wrk(
    bed: Testbed, action: Callable[[], object], old: str, new: str, *, name: str = "thumbnail"
) -> None:
    """Do ``action`` while wrk runs: every connection goes to the new node, and wrk meets no error."""
    service = bed.fabric.services[name]
    url = f"http://{service.address}:{service.port}/?width=64"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LONGEST_S}s", "--timeout", "5s", url]
    wrk = await asyncio.create_subprocess_exec(
        *in_namespace(bed.namespace("client"), command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:

        async def all_on(node: str) -> bool:
            return await connections(bed, node, service.port) == CONNECTIONS

        await until_async(lambda: all_on(old), f"wrk's connections are not on {old}")
        action()
        await until_async(lambda: all_on(new), f"wrk's connections are not on {new}")
        assert await connections(bed, old, service.port) == 0
        await asyncio.sleep(AFTERWARDS_S)
        wrk.send_signal(signal.SIGINT)  # then it prints its report
        output, _ = await asyncio.wait_for(wrk.communicate(), 20)
    finally:
        if wrk.returncode is None:
            wrk.kill()
            await wrk.wait()
    result = read_wrk(output.decode())
    assert result.errors == 0, result.output
    assert result.requests > 50, result.output


def weighted(folder: Path) -> Path:
    """The fabric, with nearly all of the flow store for the thumbnails: a flood soon fills the share of another.

    Where there is Node.js, with a service of a function in it.
    """
    text, component = FABRIC.read_text(), "component: org.hitless.examples.Thumbnail"
    assert component in text
    path = folder / "weighted.yaml"
    path.write_text(text.replace(component, f"{component}\n    flow_weight: 32") + (GREET if NODE else ""))
    return path


NODE = shutil.which("node")
GREET = """
  greet:
    service_id: 4
    index: 4
    address: 10.96.0.4
    port: 8000
    protocol: tcp
    affinity: flow
    component: org.example.Greet
    policy: {single: {}}
    instances:
      edge1: {member: 0, generation: 1}
      edge2: {member: 1, generation: 1}
"""
GREET_RECIPE = """
RecipeFormatVersion: "2020-01-25"
ComponentName: org.example.Greet
ComponentVersion: 1.0.0
ComponentConfiguration:
  DefaultConfiguration: {service: greet, concurrency: 2, timeout_ms: 5000, endpoints: {}}
Manifests:
  - Platform: {os: linux}
    Lifecycle:
      run: >-
        exec python3 -m hitless.function --bootstrap bootstrap --handler index.handler --artifacts {artifacts:path}
        --workers {configuration:/concurrency}
    Artifacts:
      - Uri: s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/bootstrap
        Permission: {Execute: OWNER}
      - Uri: s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/index.mjs
"""
GREET_HANDLER = """
export const handler = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, 2));
  return { statusCode: 200, body: `hello from ${process.env.HITLESS_NODE} to ${event.requestContext.http.sourceIp}` };
};
"""


def greet(folder: Path) -> Path:
    """The component of that function."""
    place = folder / "greet"
    place.mkdir()
    (place / "recipe.yaml").write_text(GREET_RECIPE)
    (place / "index.mjs").write_text(GREET_HANDLER)
    shutil.copy(BOOTSTRAPS / "node.js", place / "bootstrap")
    return place


@pytest.fixture(scope="module", params=each_target())
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A fabric for all tests of this module, whose nodes are as busy as each other until one is disturbed."""
    folder = tmp_path_factory.mktemp("http")
    up = fabric_up(request.param, folder / "logs", weighted(folder), [*APPS, greet(folder)])
    with asyncio.Runner() as runner:
        running = runner.run(up.__aenter__())
        try:
            yield running
        finally:
            runner.run(up.__aexit__(None, None, None))


@needs_root
def test_curl_and_ping_reach_the_service_address(bed: Testbed) -> None:
    async def scenario() -> None:
        head = await on_host(bed, "client", "curl", "-sS", "-o", "/dev/null", "-D", "-", "http://10.96.0.3/?width=64")
        assert "200" in head.splitlines()[0] and "x-hitless-node: edge1" in head.lower()
        assert " 0% packet loss" in await on_host(bed, "client", "ping", "-c", "2", "-i", "0.5", "10.96.0.3")
        assert " 0% packet loss" in await on_host(bed, "client", "ping", "-c", "2", "-i", "0.5", "10.0.0.12")
        # A node's own call to a service is steered like any other.
        hitless(bed, "migrate", "thumbnail", "edge2", "--hold")
        head = await on_host(bed, "edge1", "curl", "-sS", "-o", "/dev/null", "-D", "-", "http://10.96.0.3/?width=64")
        assert "x-hitless-node: edge2" in head.lower()
        hitless(bed, "migrate", "thumbnail", "edge1")

    asyncio.run(scenario())


@needs_root
def test_keep_alive_connections_follow_their_function_without_an_error(bed: Testbed) -> None:
    async def scenario() -> None:
        await during_wrk(bed, lambda: hitless(bed, "migrate", "thumbnail", "edge2"), "edge1", "edge2")
        await until_async(lambda: not hitless(bed, "status")["services"]["thumbnail"]["held"], "still held")
        await during_wrk(bed, lambda: hitless(bed, "drain", "thumbnail", "edge2"), "edge2", "edge1")
        hitless(bed, "drain", "thumbnail", "edge2", "--undo")

        await during_wrk(bed, lambda: disturb(bed, "edge1", processes=2), "edge1", "edge2")
        bed.stop(bed.process("compete-edge1"))

    asyncio.run(scenario())


@needs_root
@pytest.mark.skipif(NODE is None, reason="needs Node.js (Debian's package nodejs)")
def test_a_function_in_node_moves_under_load_without_losing_a_request(bed: Testbed) -> None:
    async def scenario() -> None:
        # What the other tests did to edge1 may have moved it.
        hitless(bed, "migrate", "greet", "edge1", "--hold")
        await during_wrk(bed, lambda: hitless(bed, "migrate", "greet", "edge2"), "edge1", "edge2", name="greet")
        said = await on_host(bed, "client", "curl", "-sS", "http://10.96.0.4:8000/")
        assert said == "hello from edge2 to 10.0.0.1"

    asyncio.run(scenario())


DOWNLOADS = 6
FLOOD, FLOOD_RATE = 500_000, 8_000
"""Datagrams, and how many a second: more than last until the test ends them."""


@needs_root
def test_no_download_breaks_when_its_service_moves_while_another_is_flooded(bed: Testbed, tmp_path: Path) -> None:
    """The downloads begin when the flood has taken the other's whole share of the flow store."""
    sender = compile_program(tmp_path, "hostile_sender", SENDER)
    detect, thumbnail = bed.fabric.services["detect"], bed.fabric.services["thumbnail"]
    url = f"http://{thumbnail.address}/?width=1024&format=png"
    source = str(bed.fabric.hosts["client"].address)
    arguments = [source, detect.address, detect.port, detect.service_id, FLOOD, FLOOD_RATE]
    download = ["curl", "-sS", "--limit-rate", "300k", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", url]

    def status(service: str) -> Any:
        return hitless(bed, "status")["services"][service]

    async def scenario() -> None:
        hitless(bed, "migrate", "thumbnail", "edge1", "--hold")
        flood = await asyncio.create_subprocess_exec(
            *in_namespace(bed.namespace("client"), [str(sender), *map(str, arguments)]),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await until_async(
                lambda: status("detect")["share"]["without_slot"], "detect's share is not full", within=30
            )
            curls = [asyncio.create_task(on_host(bed, "client", *download)) for _ in range(DOWNLOADS)]

            async def all_there() -> bool:
                return await connections(bed, "edge1", SERVICE_PORT) == DOWNLOADS

            await until_async(all_there, "the downloads have not begun", within=20)
            hitless(bed, "migrate", "thumbnail", "edge2", "--hold")
            assert status("thumbnail")["host"] == "edge2"
            assert not any(curl.done() for curl in curls)
            assert flood.returncode is None
            ends = await asyncio.gather(*curls)
        finally:
            flood.terminate()
            await flood.wait()
        code, size = ends[0].split()
        assert ends == [f"{code} {size}"] * DOWNLOADS
        assert (code, int(size) > 1_000_000) == ("200", True)
        hitless(bed, "migrate", "thumbnail", "edge1")

    asyncio.run(scenario())
