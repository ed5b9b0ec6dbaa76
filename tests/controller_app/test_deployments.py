"""Deployments: each node's components, and where they find the services they call."""

from pathlib import Path
from typing import Any

import pytest

from controller.fabric.file import Fabric
from controller.nodes import components as repository
from controller.nodes import deployments
from controller.nodes.components import Component
from hitless.component.service_configuration import ServiceConfiguration
from hitless.mqtt.messages import DeploymentDocument


@pytest.fixture
def components(components_path: Path) -> dict[str, Component]:
    return repository.pack_all(components_path, "http://127.0.0.1:8080")


def merged(document: DeploymentDocument, component: str) -> dict[str, Any]:
    update = document.components[component].configuration_update
    assert update is not None
    assert update.merge is not None
    return update.merge


def test_where_switches_steer_every_endpoint_is_the_services_address(
    fabric: Fabric, components: dict[str, Component]
) -> None:
    documents = deployments.documents(fabric, components, None)
    assert set(documents) == {"edge1", "edge2"}
    configuration = merged(documents["edge1"], "org.example.Web")
    assert configuration["service"] == "web"
    assert configuration["endpoints"]["resize"] == {
        "address": "10.96.0.1",
        "port": 9000,
        "service_id": 1,
        "protocol": "udp",
    }
    assert documents["edge1"].recipes["org.example.Web"].sha256 == components["org.example.Web"].sha256


def test_a_node_can_read_the_configuration(fabric: Fabric, components: dict[str, Component]) -> None:
    (document, _) = deployments.documents(fabric, components, None).values()
    read = ServiceConfiguration.read(merged(document, "org.example.Resize"))
    assert read is not None
    assert (read.own.service_id, read.own.port) == (1, 9000)


def test_without_switches_a_callers_endpoint_is_the_hosts_and_its_own_its_nodes(
    fabric: Fabric, components: dict[str, Component]
) -> None:
    documents = deployments.documents(fabric, components, {"resize": "edge2", "web": "edge1"})
    for node, own in (("edge1", "10.0.0.11"), ("edge2", "10.0.0.12")):
        endpoints = merged(documents[node], "org.example.Web")["endpoints"]
        assert endpoints["resize"]["address"] == "10.0.0.12"
        assert endpoints["web"]["address"] == own


def test_a_move_changes_only_the_callers_configuration(fabric: Fabric, components: dict[str, Component]) -> None:
    before = deployments.documents(fabric, components, {"resize": "edge1", "web": "edge1"})["edge1"]
    after = deployments.documents(fabric, components, {"resize": "edge2", "web": "edge1"})["edge1"]
    assert before.deployment_id != after.deployment_id
    assert before.recipes == after.recipes, "a move is never a redeployment"
    assert before.components["org.example.Resize"] == after.components["org.example.Resize"]
    assert merged(before, "org.example.Web") != merged(after, "org.example.Web")


def test_equal_deployments_have_equal_ids_and_others_other_ids(
    fabric: Fabric, components: dict[str, Component], components_path: Path
) -> None:
    first = deployments.documents(fabric, components, None)
    assert deployments.documents(fabric, components, None) == first
    (components_path / "web" / "main.py").write_text("changed = True\n")
    changed = repository.pack_all(components_path, "http://127.0.0.1:8080")
    assert deployments.documents(fabric, changed, None)["edge1"].deployment_id != first["edge1"].deployment_id


def test_a_component_whose_recipe_names_nobody_finds_everybody(fabric: Fabric, components_path: Path) -> None:
    recipe = components_path / "resize" / "recipe.yaml"
    recipe.write_text("".join(line for line in recipe.open() if "endpoints" not in line))
    components = repository.pack_all(components_path, "http://127.0.0.1:8080")
    document = deployments.documents(fabric, components, None)["edge1"]
    assert set(merged(document, "org.example.Resize")["endpoints"]) == {"resize", "web"}
    assert set(merged(document, "org.example.Web")["endpoints"]) == {"resize", "web"}
