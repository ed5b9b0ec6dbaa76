"""What a deployment makes of a fabric and its components: what is added, what is taken back, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.deploying import KEPT, Deploying
from controller.fabric.file import Fabric
from controller.nodes.components import Library, pack_all
from controller.nodes.deployed import Deployed
from controller.observe.log import EventLog
from controller.operator import rolling, starting
from controller.operator.documents import DeployResult, Status
from controller.operator.overrides import CommandError
from controller.operator.requests import Deploy
from controller.operator.sending import packed
from hitless.mqtt.messages import LogLine, LogsAsked, LogsTold

GREET = "org.example.Greet"


class Fake:
    """A running controller whose nodes carry everything out, but for `fails`."""

    def __init__(self, fabric: Fabric, library: Library) -> None:
        self.fabric, self.library = fabric, library
        self.controller = SimpleNamespace(steering=SimpleNamespace(at_node_addresses=False, mode="reconfiguration"))
        self.fails: str | None = None
        self.away: str | None = None
        self.replaced = 0

    async def replace(self, fabric: Fabric, library: Library) -> Any:
        self.fabric, self.library = fabric, library
        self.replaced += 1
        return self.controller

    async def status(self) -> Status:
        nodes = {
            node: {
                "online": node != self.away,
                "deployment": "failed" if node == self.fails else "done",
                "components": {GREET: "RUNNING"},
                "details": {},
            }
            for node in self.fabric.nodes
        }
        called = {"service_id": 3, "address": "10.96.0.3", "port": 8000, "protocol": "tcp"}
        one = {"policy": "single", "host": None, "held": False, "held_on": None, "held_for_s": None}
        services = {name: {**one, "instances": {}, "called_at": called} for name in self.fabric.services}
        broker = {"address": "b", "connected": True, "error": None}
        whole = {"fabric": "f", "mode": "reconfiguration", "last_event": 0, "broker": broker, "switches": {}}
        return Status.model_validate({**whole, "nodes": nodes, "services": services})

    async def commands(self) -> Any:
        async def log_piece(component: str, node: str, asked: LogsAsked) -> LogsTold:
            line = LogLine(time=0, level="ERROR", text=f"{component} on {node}")
            return LogsTold(client_token="", cursor="1", lines=(line,) if asked.cursor is None else ())

        return SimpleNamespace(log_piece=log_piece)


class Desk:
    """Deployments of one folder."""

    def __init__(self, fabric: Fabric, components: Path, folder: Path) -> None:
        self.running = Fake(fabric, pack_all([components], "http://127.0.0.1:8080"))
        self.deployed = Deployed(folder / "state")
        self.deploying = Deploying(cast(Any, self.running), self.deployed, EventLog(lambda _: ("", "")))
        self.folder = folder / "greet"
        self.folder.mkdir()
        for name, (text, _) in starting.rendered("greet", "python", "http").items():
            (self.folder / name).write_text(text)

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        (self.folder / name).write_text(change((self.folder / name).read_text()))

    def deploy(self, *nodes: str, body: Deploy | None = None) -> DeployResult:
        async def story() -> DeployResult:
            *_, result = [
                entry async for entry in await self.deploying.begin(body or packed(self.folder, nodes, None, None))
            ]
            assert isinstance(result, DeployResult)
            return result

        return asyncio.run(story())

    def versions(self) -> list[str]:
        """Those that are on disk."""
        return sorted(path.name for path in (self.deployed._folder).glob(f"{GREET}/*"))


@pytest.fixture
def desk(fabric: Fabric, components_path: Path, tmp_path: Path) -> Desk:
    return Desk(fabric, components_path, tmp_path)


def test_a_new_component_gets_a_service_and_a_changed_one_the_next_version(desk: Desk) -> None:
    first = desk.deploy("edge2")
    assert (first.version, first.services, first.nodes, first.error) == ("1.0.0", ["greet"], ["edge2"], None)
    assert first.keep is not None and "component: org.example.Greet" in first.keep
    assert desk.running.fabric.services["greet"].instances.keys() == {"edge2"}
    same = desk.deploy()
    assert (same.changed, same.version, desk.running.replaced) == (False, "1.0.0", 1)
    for patch in range(1, KEPT + 2):
        desk.edit("handler.py", lambda text: text + "# another\n")
        assert desk.deploy().version == f"1.0.{patch}"
    assert desk.versions() == [f"1.0.{patch}" for patch in range(2, KEPT + 2)], "few old ones are kept"
    assert desk.deployed.services().keys() == {"greet"}


def test_what_was_deployed_can_be_taken_away(desk: Desk) -> None:
    before = desk.running.fabric.services.keys()
    desk.deploy("edge1")
    gone = asyncio.run(desk.deploying.remove("greet"))
    assert (gone.component, gone.versions, gone.message) == (
        GREET,
        ["1.0.0"],
        f"greet is taken away, and {GREET} 1.0.0",
    )
    assert desk.running.fabric.services.keys() == before and GREET not in desk.running.library
    assert (desk.versions(), desk.deployed.services()) == ([], {})
    for service in ("web", "greet"):
        with pytest.raises(CommandError, match=f"{service} is no service that was deployed, of which there are: none"):
            asyncio.run(desk.deploying.remove(service))


def test_what_fails_leaves_nothing_behind(desk: Desk) -> None:
    before = desk.running.fabric
    desk.running.fails = "edge1"
    failed = desk.deploy("edge1", "edge2")
    assert failed.error is not None and failed.error.startswith("it does not come up on edge1: ")
    assert [line.text for line in failed.log] == [f"{GREET} on edge1"]
    assert (failed.keep, failed.nodes, failed.changed) == (None, [], False)
    assert desk.running.fabric is before and GREET not in desk.running.library
    assert (desk.versions(), desk.deployed.services()) == ([], {})


def refused(desk: Desk, problem: str, *nodes: str, body: Deploy | None = None) -> None:
    before = sorted(path for path in desk.folder.parent.rglob("*") if path.is_file())
    with pytest.raises(CommandError, match=problem):
        desk.deploy(*nodes, body=body)
    assert sorted(path for path in desk.folder.parent.rglob("*") if path.is_file()) == before, "nothing has changed"
    assert desk.running.replaced == 0


def test_what_cannot_be_deployed_is_refused(desk: Desk) -> None:
    refused(desk, r"say with --node on which nodes")
    refused(desk, r"no node edge7 in fabric small; nodes: edge1, edge2", "edge7")
    body = packed(desk.folder, ("edge1",), None, None)
    lost = body.model_copy(update={"files": {}})
    refused(desk, r"recipe\.yaml:\d+: Manifests\.0\.Artifacts\.0\.Uri: expected a file of the component", body=lost)
    outside = body.model_copy(update={"files": {"../x": ""}})
    refused(desk, r"files: expected the name of a file in no folder, got '\.\./x'", body=outside)
    refused(desk, r"recipe\.yaml:1: ", body=body.model_copy(update={"recipe": "no recipe"}))
    desk.edit("recipe.yaml", lambda text: text.replace("protocol: http", "protocol: carrier pigeon"))
    refused(desk, r"expected http or udp as protocol in the recipe's configuration, got 'carrier pigeon'", "edge1")
    desk.edit(
        "recipe.yaml", lambda text: text.replace("carrier pigeon", "udp").replace("service: greet", "service: web")
    )
    refused(desk, r"service web is there and has the component org\.example\.Web", "edge1")
    desk.edit("recipe.yaml", lambda text: text.replace("    service: web\n", ""))
    refused(desk, r"is no function, since its configuration has no `service`", "edge1")


def test_a_version_is_of_one_content_and_never_older(desk: Desk) -> None:
    desk.edit("gdk-config.json", lambda text: text.replace("NEXT_PATCH", "2.0.0"))
    assert desk.deploy("edge1").version == "2.0.0"
    assert not desk.deploy().changed
    desk.running.replaced = 0
    desk.edit("handler.py", lambda text: text + "# another\n")
    refused(desk, r"Greet 2\.0\.0 is there and is another: give this one a version of its own")
    desk.edit("gdk-config.json", lambda text: text.replace("2.0.0", "1.9.0"))
    refused(desk, r"Greet 1\.9\.0 is older than 2\.0\.0, which is there")
    desk.edit("gdk-config.json", lambda text: text.replace("1.9.0", "2.1.0"))
    refused(desk, r"greet has org\.example\.Greet on edge1: another node is added in the fabric file", "edge2")


def test_a_node_that_is_away_gets_it_when_it_is_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "OFFLINE_S", 0)
    desk.running.away = "edge2"
    result = desk.deploy("edge1", "edge2")
    assert result.error == "edge2: offline; it comes up there when it is back"
    assert (result.nodes, result.changed) == (["edge1"], True)
    assert result.keep is not None and desk.versions() == ["1.0.0"]


def test_one_deployment_at_a_time(desk: Desk) -> None:
    async def story() -> None:
        body = packed(desk.folder, ("edge1",), None, None)
        steps = await desk.deploying.begin(body)
        for again in (desk.deploying.begin(body), desk.deploying.remove("greet")):
            with pytest.raises(CommandError, match="another deployment is under way"):
                await again
        assert [entry async for entry in steps][-1].kind == "result"

    asyncio.run(story())
