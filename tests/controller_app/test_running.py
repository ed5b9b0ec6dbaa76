"""One controller after the other in a process, and what was deployed, on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from controller.fabric.file import Fabric
from controller.nodes.components import Library, pack_all
from controller.nodes.deployed import Deployed
from controller.operator.sending import SENT
from controller.running import Running
from hitless.files import StateError

URL = "http://127.0.0.1:8080"


class Fake:
    """A controller that runs until it is cancelled, or fails."""

    def __init__(self, fabric: str, log: list[str]) -> None:
        self.fabric = fabric
        self.log = log
        self.commands = f"commands of {fabric}"
        log.append(f"{fabric} made")

    async def run(self) -> None:
        self.log.append(f"{self.fabric} runs")
        try:
            if self.fabric == "broken":
                raise OSError("no switch program")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.log.append(f"{self.fabric} ended")

    async def status(self) -> str:
        return f"status of {self.fabric}"


def running(log: list[str]) -> Any:
    return Running(cast(Any, lambda fabric, _: Fake(fabric, log)), cast(Any, "first"), cast(Any, None))


def test_another_controller_begins_when_the_one_before_has_ended() -> None:
    log: list[str] = []

    async def story() -> None:
        both = running(log)
        work = asyncio.create_task(both.run())
        assert await both.commands() == "commands of first"
        await asyncio.sleep(0)
        replacing = asyncio.create_task(both.replace("second", None))
        await asyncio.sleep(0)
        # Whoever asks meanwhile is answered by the one that comes.
        assert await asyncio.gather(both.status(), both.commands()) == ["status of second", "commands of second"]
        assert (await replacing).fabric == both.fabric == "second"
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(story())
    assert log == ["first made", "first runs", "first ended", "second made", "second runs", "second ended"]


def test_a_controller_that_cannot_go_on_ends_it_all() -> None:
    async def story() -> None:
        both = running([])
        work = asyncio.create_task(both.run())
        await asyncio.sleep(0)
        replacing = asyncio.create_task(both.replace("broken", None))
        with pytest.raises(OSError, match="no switch program"):
            await work
        replacing.cancel()

    asyncio.run(story())


def test_what_was_kept_is_there_again_and_what_was_given_up_is_not(components_path: Path, tmp_path: Path) -> None:
    own = pack_all([components_path], URL)
    web = own["org.example.Web"]
    deployed = Deployed(tmp_path / "state")
    assert (deployed.services(), len(deployed.library(own, URL).all())) == ({}, 2)
    text = pack_all([components_path], SENT)["org.example.Web"].document.decode().replace("1.0.0", "1.0.1")
    for keep in (False, True):
        begun = deployed.begin(text, web.files, "org.example.Web", "1.0.1")
        newer = pack_all([begun], URL)["org.example.Web"]
        if keep:
            deployed.keep(begun, newer)
        deployed.save_services({"greet": {"service_id": 3}})
        there = Deployed(tmp_path / "state").library(own, URL)
        assert there["org.example.Web"].recipe.version == ("1.0.1" if keep else "1.0.0")
        assert not begun.exists(), "what a controller left half done is taken away"
    assert there["org.example.Web"].files == web.files
    assert Deployed(tmp_path / "state").services() == {"greet": {"service_id": 3}}
    deployed.drop("org.example.Web", "1.0.1")
    assert deployed.library(own, URL)["org.example.Web"].recipe.version == "1.0.0"
    (tmp_path / "state" / "deployed.json").write_text("{")
    with pytest.raises(StateError, match="move it away"):
        deployed.services()


def test_the_operators_own_version_comes_before_one_that_was_deployed(components_path: Path, tmp_path: Path) -> None:
    own = pack_all([components_path], URL)
    web = own["org.example.Web"]
    deployed = Deployed(tmp_path / "state")
    text = pack_all([components_path], SENT)["org.example.Web"].document.decode()
    begun = deployed.begin(text, {"main.py": b"other"}, "org.example.Web", "1.0.0")
    deployed.keep(begun, pack_all([begun], URL)["org.example.Web"])
    assert deployed.library(own, URL)["org.example.Web"].files == web.files


def test_a_deployed_service_waits_for_room_in_the_fabric_file(
    fabric: Fabric, components_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from controller.app import _with_services
    from controller.fabric import additions

    library: Library = pack_all([components_path], URL)
    deployed = Deployed(tmp_path / "state")
    entry = additions.added(fabric, "greet", "org.example.Web", "tcp", ["edge1"], 8000)
    deployed.save_services(
        {
            "greet": entry,
            "web": entry,
            "clash": {**entry, "port": 80},
            "lost": {**entry, "component": "org.example.Lost"},
        }
    )
    assert _with_services(fabric, library, deployed).services.keys() == {"resize", "web", "greet"}
    assert "service lost is left out: its component org.example.Lost is not there" in caplog.text
    assert "service clash, which was deployed, is left out: " in caplog.text
