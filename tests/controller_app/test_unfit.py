"""A service is moved only where it can be served, and a pin to where it no longer can is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.fabric.file import Fabric
from controller.observe.events import Event, PinEvent
from controller.observe.findings import Finding
from controller.operator import commands
from controller.operator.commands import Commands
from controller.operator.fitness import unfit
from controller.operator.overrides import CommandError, OperatorIntent
from controller.steering.claims import Evidence
from controller.steering.doubts import Doubt
from controller.steering.interface import InstanceView, Observation
from hitless.component.states import ComponentState
from hitless.words import MemberStatus
from tests.patience import until_async

READY = InstanceView(MemberStatus.READY, 65000, 1000, 1, 1, True)
NOT_READY = InstanceView(MemberStatus.NOT_READY, 0, 1000, 1, 1, False)
DOUBT = Doubt(Evidence(Finding.CONTRADICTED, 3.0, 90, 90, 0, 80), 10.0, 10.0)
DEAD_US = 1_000_000


@pytest.mark.parametrize(
    ("instance", "component", "details", "doubt", "reason"),
    [
        (READY, ComponentState.RUNNING, None, None, None),
        (READY, None, None, None, None),
        (None, None, None, None, None),
        (InstanceView(None, 0, None, 0, 0, False), None, None, None, None),
        (InstanceView(MemberStatus.DRAINING, 1, 1000, 1, 1, True), ComponentState.RUNNING, None, None, None),
        (READY, ComponentState.BROKEN, "exited at once", None, "BROKEN: exited at once"),
        (READY, ComponentState.BROKEN, None, None, "BROKEN"),
        (READY, ComponentState.RUNNING, None, DOUBT, "doubted: contradicted"),
        (NOT_READY, ComponentState.STARTING, None, None, "not ready (its component is STARTING)"),
        (NOT_READY, None, None, None, "not ready"),
        (InstanceView(MemberStatus.ABSENT, 0, None, 0, 0, False), None, None, None, "without any report so far"),
        (
            InstanceView(MemberStatus.ABSENT, 0, 1_500_000, 1, 1, False),
            None,
            None,
            None,
            "silent: its last report is 1.5 s old",
        ),
        (
            InstanceView(MemberStatus.READY, 65000, DEAD_US + 300_000, 1, 1, True),
            None,
            None,
            None,
            "silent: its last report is 1.3 s old",
        ),
        (InstanceView(MemberStatus.READY, 65000, DEAD_US, 1, 1, True), None, None, None, None),
        (InstanceView(MemberStatus.ABSENT, 0, 300_000, 1, 1, False), None, None, None, None),
    ],
)
def test_why_an_instance_cannot_serve(
    instance: InstanceView | None,
    component: ComponentState | None,
    details: str | None,
    doubt: Doubt | None,
    reason: str | None,
) -> None:
    assert unfit(instance, DEAD_US, component, details, doubt) == reason


class Around:
    """The operator's commands, with a node whose component can break, and steering that does as it is told."""

    def __init__(self, fabric: Fabric) -> None:
        self.view = SimpleNamespace(components={"org.example.Web": ComponentState.RUNNING}, details={})
        self.instances = {("web", "edge1"): READY, ("web", "edge2"): READY}
        self.doubts: dict[tuple[str, str], Doubt] = {}
        self.hosts = {"web": "edge1", "resize": None}
        self.events: list[Event] = []
        self.written: list[tuple[dict[str, str], set[str]]] = []
        self.intent = OperatorIntent(fabric)
        self.commands = Commands(
            self.intent,
            cast(Any, self),
            cast(Any, None),
            cast(Any, SimpleNamespace(view=lambda node: self.view)),
            broker_error=lambda: None,
            record=self.events.append,
            save=lambda: None,
            assign_roles=lambda: None,
        )

    def check(self, service: str) -> None:
        """It could be moved."""

    async def observe(self) -> Observation:
        """As it is."""
        return Observation(self.hosts, self.instances)

    async def override(self, pins: dict[str, str], excluded: set[str]) -> None:
        """Take note."""
        self.written.append((dict(pins), set(excluded)))


def test_a_migration_to_what_cannot_serve_is_refused_with_the_reason_and_forced_all_the_same(fabric: Fabric) -> None:
    async def scenario() -> None:
        around = Around(fabric)
        around.instances["web", "edge2"] = NOT_READY
        with pytest.raises(CommandError, match=r"web on edge2 is not ready .*--force"):
            await around.commands.migrate("web", "edge2", hold=False)
        assert around.intent.pins == {}
        assert around.written == []
        result = await around.commands.migrate("web", "edge2", hold=True, force=True)
        assert result.message.startswith("web: to edge2")
        assert around.written == [({"web": "edge2"}, set())]

    asyncio.run(scenario())


def test_to_exclude_a_node_lets_go_of_what_is_held_there(fabric: Fabric) -> None:
    async def scenario() -> None:
        around = Around(fabric)
        await around.commands.migrate("web", "edge2", hold=True)
        result = await around.commands.exclude("edge2")
        assert (result.excluded, result.released) == (True, ["web"])
        assert result.message == "edge2: gets nothing, and its reports do not count; let go of web"
        assert around.written[-1] == ({}, {"edge2"})
        again = await around.commands.exclude("edge2")
        assert again.message == "edge2 is excluded already"
        assert (await around.commands.exclude("edge1")).message.endswith("nobody else serves resize, web")
        assert (await around.commands.include("edge2")).message == "edge2: serves again"
        assert around.written[-1] == ({}, {"edge1"})
        assert (await around.commands.include("edge2")).message == "edge2 is not excluded"

    asyncio.run(scenario())


def test_a_pin_to_what_can_no_longer_serve_is_told_once_and_so_is_its_return(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PINS_LOOKED_AT_S", 0.001)

    async def scenario() -> None:
        around = Around(fabric)
        await around.commands.migrate("web", "edge2", hold=True)
        watching = asyncio.create_task(around.commands.watch_pins())

        def told() -> list[str | None]:
            return [event.reason for event in around.events if isinstance(event, PinEvent)]

        around.view.components["org.example.Web"] = ComponentState.BROKEN
        around.view.details["org.example.Web"] = "it died"
        await until_async(lambda: told() == ["BROKEN: it died"], "nobody told")
        around.view.details["org.example.Web"] = "it died again"
        around.view.components["org.example.Web"] = ComponentState.RUNNING
        await until_async(lambda: told() == ["BROKEN: it died", None], "nobody told of its return")
        watching.cancel()

    asyncio.run(scenario())
