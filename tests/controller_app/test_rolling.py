"""When a deployment has come to its end, by what the nodes and the switches say."""

from __future__ import annotations

from typing import Any

import pytest

from controller.operator import rolling
from controller.operator.documents import Status
from controller.operator.rolling import OFFLINE_S, SERVES_S, Rolling

GREET = "org.example.Greet"


def status(
    *,
    online: bool = True,
    deployment: str = "done",
    state: str | None = "RUNNING",
    instance: str = "ready",
    **more: Any,
) -> Status:
    """What the controller knows of a service on edge1."""
    node = {
        "online": online,
        "deployment": deployment,
        "components": {GREET: state} if state is not None else {},
        "details": {},
        **more,
    }
    seen = {
        "member": 0,
        "status": instance,
        "rank": 0,
        "age_us": None,
        "epoch": 0,
        "sequence": 0,
        "eligible": False,
        "steered_packets": 0,
        "draining": False,
    }
    service = {"policy": "single", "host": None, "held": False, "held_on": None, "held_for_s": None}
    called = {"service_id": 4, "address": "10.96.0.4", "port": 8000, "protocol": "tcp"}
    return Status.model_validate(
        {
            "fabric": "f",
            "mode": "in-network",
            "last_event": 0,
            "broker": {"address": "b", "connected": True, "error": None},
            "switches": {},
            "nodes": {"edge1": node},
            "services": {"greet": {**service, "instances": {"edge1": seen}, "called_at": called}},
        }
    )


def states(watched: Rolling, *seen: tuple[Status, float]) -> list[tuple[str, str | None]]:
    return [(step.state, step.details) for one, now in seen for step in watched.look(one, now)]


def rolled(*, steered: bool = True) -> Rolling:
    return Rolling(GREET, ["greet"], ["edge1"], steered, began=0.0)


def test_it_ends_when_the_switch_has_a_report_of_it() -> None:
    watched = rolled()
    assert states(
        watched,
        (status(online=False, deployment="waiting", state=None), 0.1),
        (status(deployment="under way", step="download 3 %", state=None), 1),
        (status(deployment="under way", step="download 3 %", state=None), 2),
        (status(instance="absent"), 3),
    ) == [("waiting", None), ("under way", "download 3 %"), ("done", None)]
    assert not watched.ended
    assert states(watched, (status(), 4)) == [("serves", None)]
    assert (watched.ended, watched.failed, watched.offline) == (True, [], [])
    assert rolling.places(status(), ["greet"]) == "10.96.0.4:8000"


def test_where_no_switch_steers_to_run_is_enough() -> None:
    watched = rolled(steered=False)
    assert states(watched, (status(instance="unknown"), 1)) == [("done", None)]
    assert watched.ended


@pytest.mark.parametrize(
    ("seen", "details"),
    [
        (status(deployment="failed", state=None), None),
        (status(state="BROKEN", details={GREET: "exited with code 1"}), "exited with code 1"),
    ],
)
def test_what_does_not_come_up_has_failed(seen: Status, details: str | None) -> None:
    watched = rolled()
    assert states(watched, (seen, 1)) == [("failed", details)]
    assert (watched.ended, watched.failed, watched.details("edge1")) == (True, ["edge1"], details)


def test_a_component_that_never_reports_has_failed() -> None:
    watched = rolled()
    assert states(watched, (status(instance="not_ready"), 1)) == [("done", None)]
    ((state, details),) = states(watched, (status(instance="not_ready"), 1 + SERVES_S))
    assert state == "failed" and details is not None and "no switch has had a report" in details


def test_a_node_that_is_not_there_is_waited_for_a_little() -> None:
    watched, away = rolled(), status(online=False, deployment="waiting", state=None)
    assert states(watched, (away, OFFLINE_S / 2)) == [("waiting", None)]
    assert not watched.ended
    assert states(watched, (away, OFFLINE_S)) == [("offline", None)]
    assert (watched.ended, watched.offline) == (True, ["edge1"])


def test_only_nodes_whose_deployment_changes_are_waited_for() -> None:
    assert rolling.changed_nodes({"edge1": "a", "edge2": "b"}, {"edge1": "a", "edge2": "c", "edge3": "d"}) == [
        "edge2",
        "edge3",
    ]
