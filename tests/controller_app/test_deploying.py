"""`hitless deploy` and `hitless logs`, a controller running: what comes up stays, what does not is taken back."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

from click.testing import CliRunner

from controller.fabric.file import Fabric
from controller.operator.cli import main
from tests.controller_app.fake_node import FakeNode
from tests.controller_app.support import Running
from tests.mosquitto import Mosquitto
from tests.patience import until_async

GREET = "org.example.Greet"


async def cli(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(running.cli, *words)


def new(folder: Path) -> str:
    """A new function; returns its folder."""
    assert CliRunner().invoke(main, ["new", str(folder / "greet")]).exit_code == 0
    return str(folder / "greet")


async def started(running: Running, fabric: Fabric, stack: AsyncExitStack) -> tuple[FakeNode, FakeNode]:
    """Two nodes and a controller that knows them."""
    one = await stack.enter_async_context(FakeNode(fabric, "edge1"))
    other = await stack.enter_async_context(FakeNode(fabric, "edge2"))
    running.start("--mode", "reconfiguration")
    await until_async(lambda: all(node.deployment is not None for node in (one, other)), "no first deployment")
    return one, other


def test_a_function_is_added_changed_and_known_after_a_restart(
    running: Running, fabric: Fabric, broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            one, other = await started(running, fabric, stack)
            folder = new(tmp_path)
            refused = await cli(running, "deploy", folder)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert f"no service names {GREET}: say with --node on which nodes it is to be one" in refused.stderr

            jobs = len(other.jobs)
            done = await cli(running, "deploy", folder, "--node", "edge1")
            assert (done.returncode, done.stderr) == (0, ""), done
            assert "edge1: done" in done.stdout
            assert f"{GREET} 1.0.0 runs on edge1\n" in done.stdout
            assert "services:\n  greet:\n    service_id: 3\n    index: 3\n    address: 10.96.0.3\n" in done.stdout
            assert one.deployment is not None and one.deployment.components[GREET].component_version == "1.0.0"
            assert len(other.jobs) == jobs, "who has nothing to do with it is left alone"

            same = await cli(running, "deploy", folder)
            assert (same.returncode, same.stdout) == (0, f"{GREET} 1.0.0 is there already; nothing has changed\n")
            handler = Path(folder, "handler.py")
            handler.write_text(handler.read_text().replace("hello", "good morning"))
            changed = await cli(running, "deploy", folder, "--json")
            result = json.loads(changed.stdout.splitlines()[-1])
            assert (result["version"], result["nodes"], result["keep"]) == ("1.0.1", ["edge1"], None)

            held = len(one.jobs)
            running.end()
            running.start("--mode", "reconfiguration")
            await until_async(lambda: running.status()["nodes"]["edge1"]["deployment"] == "done", "not known again")
            assert running.status()["services"]["greet"]["instances"].keys() == {"edge1"}
            assert len(one.jobs) == held, "it has what it should"

    asyncio.run(scenario())


def test_what_does_not_come_up_is_taken_back_with_the_reason_and_the_end_of_its_log(
    running: Running, fabric: Fabric, broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            one, other = await started(running, fabric, stack)
            folder = new(tmp_path)
            other.fails, other.prints = f"{GREET} ends at once", {GREET: ["Traceback", "NameError: no such name"]}
            failed = await cli(running, "deploy", folder, "--node", "edge1", "--node", "edge2")
            assert failed.returncode == 1
            assert "edge2 INFO     NameError: no such name" in failed.stderr
            assert f"does not come up on edge2: FAILED_ROLLBACK_COMPLETE: {GREET} ends at once;" in failed.stderr
            assert "services:" not in failed.stdout
            status = running.status()
            assert "greet" not in status["services"]
            await until_async(
                lambda: one.deployment is not None and GREET not in one.deployment.components, "not taken back"
            )
            other.fails = None
            again = await cli(running, "deploy", folder, "--node", "edge1")
            assert again.returncode == 0, again

    asyncio.run(scenario())


def test_a_component_with_mistakes_is_refused_before_it_is_sent(running: Running, tmp_path: Path) -> None:
    running.start()
    folder = Path(new(tmp_path))
    (folder / "handler.py").rename(folder / "greet.py")
    refused = running.cli("deploy", str(folder), "--node", "edge1")
    assert refused.returncode == 1
    place = f"{folder / 'recipe.yaml'}:21: Manifests.0.Artifacts.0.Uri"
    assert f"{place}: expected a file of the component" in refused.stderr


def test_logs_are_followed_until_the_reader_leaves(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            one, other = await started(running, fabric, stack)
            one.prints = {"org.example.Web": ["a", "b"]}
            shown = await cli(running, "logs", "web", "--node", "edge1", "--tail", "1")
            assert shown.returncode == 0, shown
            assert shown.stdout == "1970-01-01T00:00:00.000Z edge1 INFO     b\n"
            unknown = await cli(running, "logs", "org.example.Nothing")
            assert (unknown.returncode, "no node has a component org.example.Nothing" in unknown.stderr) == (1, True)

            read = running.client.logs("org.example.Web", follow=True)
            first = await asyncio.to_thread(lambda: [next(read) for _ in range(2)])
            assert [entry.node for entry in first] == ["edge1", "edge1"]
            other.prints = {"org.example.Web": ["c"]}
            (third,) = await asyncio.to_thread(lambda: [next(read)])
            assert third.node == "edge2"
            read.close()

    asyncio.run(scenario())
