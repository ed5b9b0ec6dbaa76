"""What stands in the way of a fabric that comes up, and what will never come, as `make up` tells it."""

from typing import Any

import pytest

from controller.fabric.file import Fabric, load
from controller.observe.events import DeploymentEvent
from controller.operator.documents import Status
from hitless.modes import IN_NETWORK
from topologies.readiness import given_up, missing, troubled
from topologies.testbed import REPOSITORY_ROOT

THUMBNAIL = "org.hitless.examples.Thumbnail"
REASON = f"FAILED_ROLLBACK_COMPLETE: {THUMBNAIL}: run exited with code 1"


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return load(REPOSITORY_ROOT / "topologies" / "pair.yaml")


def status(fabric: Fabric, component: str = "RUNNING", **edge1: Any) -> Status:
    """Everything up, but Thumbnail on edge1 and what is said of edge1 as given."""
    instance = {"member": 0, "status": "ready", "rank": 9, "age_us": 1, "epoch": 1, "sequence": 1}
    instance |= {"eligible": True, "steered_packets": 0, "draining": False}
    running = {service.component: "RUNNING" for service in fabric.services.values()}
    nodes: dict[str, Any] = {
        node: {"online": True, "deployment": "done", "components": dict(running)} for node in fabric.nodes
    }
    nodes["edge1"]["components"][THUMBNAIL] = component
    nodes["edge1"] |= edge1
    service = {"policy": "single", "host": "edge1", "held": False, "held_on": None, "held_for_s": None}
    return Status.model_validate(
        {
            "fabric": "pair",
            "mode": IN_NETWORK,
            "last_event": 1,
            "broker": {"address": "10.0.0.100:8883", "connected": True, "error": None},
            "switches": {"s1": {"connected": True, "target": "", "cookie": None, "error": None}},
            "nodes": nodes,
            "services": {
                name: service | {"instances": dict.fromkeys(fabric.nodes, instance)} for name in fabric.services
            },
        }
    )


def failed(node: str, reason: str) -> DeploymentEvent:
    return DeploymentEvent(node=node, deployment="1", status="FAILED", reason=reason)


def test_nothing_is_missing_where_all_is_up(fabric: Fabric) -> None:
    assert missing(fabric, IN_NETWORK, status(fabric)) == ""
    assert not troubled(status(fabric))


def test_what_went_wrong_is_told_while_it_is_tried_again(fabric: Fabric) -> None:
    seen = status(fabric, "ERRORED", deployment="under way", details={THUMBNAIL: "run exited with code 1"})
    assert missing(fabric, IN_NETWORK, seen).endswith(
        f"{THUMBNAIL} on edge1 to run (now ERRORED: run exited with code 1)"
    )
    assert not troubled(seen)


def test_a_broken_component_is_named_with_its_reason(fabric: Fabric) -> None:
    seen = status(fabric, "BROKEN", details={THUMBNAIL: "no module nonsense"})
    assert troubled(seen)
    found = given_up(fabric, seen, list)
    assert str(found) == f"{THUMBNAIL} does not come up on edge1: no module nonsense"


def test_a_failed_deployment_is_told_by_the_component_that_failed(fabric: Fabric) -> None:
    seen = status(fabric, deployment="failed")
    told = [failed("edge2", "another"), failed("edge1", "an earlier one"), failed("edge1", REASON)]
    found = given_up(fabric, seen, lambda: told)
    assert found is not None
    assert (found.node, found.component, found.reason) == ("edge1", THUMBNAIL, REASON)


def test_a_deployment_that_names_no_component_is_told_as_such(fabric: Fabric) -> None:
    found = given_up(fabric, status(fabric, deployment="failed"), lambda: [failed("edge1", "the disk is full")])
    assert str(found) == "the deployment does not come up on edge1: the disk is full"
