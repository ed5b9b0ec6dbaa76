"""Deployments: each node's components, and where they find the services they call."""

from pathlib import Path
from typing import Any

import pytest

from controller.fabric.file import Fabric
from controller.nodes import deployments
from controller.nodes.components import Library, pack_all
from greengrass_agent.deployment.configuration import updated
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.triggers import Trigger
from hitless.mqtt.messages import DeploymentDocument
from tests.controller_app.support import write_component


@pytest.fixture
def components(components_path: Path) -> Library:
    return pack_all([components_path], "http://127.0.0.1:8080")


def merged(document: DeploymentDocument, component: str) -> dict[str, Any]:
    update = document.components[component].configuration_update
    assert update is not None
    assert update.merge is not None
    return update.merge


def test_where_switches_steer_every_endpoint_is_the_services_address(fabric: Fabric, components: Library) -> None:
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


def test_a_node_can_read_the_configuration(fabric: Fabric, components: Library) -> None:
    (document, _) = deployments.documents(fabric, components, None).values()
    read = ServiceConfiguration.read(merged(document, "org.example.Resize"))
    assert read is not None
    assert (read.own.service_id, read.own.port) == (1, 9000)


def test_without_switches_a_callers_endpoint_is_the_hosts_and_its_own_its_nodes(
    fabric: Fabric, components: Library
) -> None:
    documents = deployments.documents(fabric, components, {"resize": "edge2", "web": "edge1"})
    for node, own in (("edge1", "10.0.0.11"), ("edge2", "10.0.0.12")):
        endpoints = merged(documents[node], "org.example.Web")["endpoints"]
        assert endpoints["resize"]["address"] == "10.0.0.12"
        assert endpoints["web"]["address"] == own


def test_a_move_changes_only_the_callers_configuration(fabric: Fabric, components: Library) -> None:
    before = deployments.documents(fabric, components, {"resize": "edge1", "web": "edge1"})["edge1"]
    after = deployments.documents(fabric, components, {"resize": "edge2", "web": "edge1"})["edge1"]
    assert before.deployment_id != after.deployment_id
    assert before.recipes == after.recipes, "a move is never a redeployment"
    assert before.components["org.example.Resize"] == after.components["org.example.Resize"]
    assert merged(before, "org.example.Web") != merged(after, "org.example.Web")


def test_equal_deployments_have_equal_ids_and_others_other_ids(
    fabric: Fabric, components: Library, components_path: Path
) -> None:
    first = deployments.documents(fabric, components, None)
    assert deployments.documents(fabric, components, None) == first
    (components_path / "web" / "main.py").write_text("changed = True\n")
    changed = pack_all([components_path], "http://127.0.0.1:8080")
    assert deployments.documents(fabric, changed, None)["edge1"].deployment_id != first["edge1"].deployment_id


def needing(folder: Path, **needs: str) -> None:
    """Have a component need others: name after org.example -> requirement, and SOFT behind it if it is so."""
    lines = ["ComponentDependencies:"]
    for name, requirement in needs.items():
        version, _, kind = requirement.partition(" ")
        lines.append(f'  org.example.{name}: {{VersionRequirement: "{version}", DependencyType: {kind or "HARD"}}}')
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("Manifests:", "\n".join([*lines, "Manifests:"])))


def plain(root: Path, name: str, version: str, **needs: str) -> None:
    """A component that serves nothing."""
    folder = write_component(root, f"org.example.{name}", f"{name}-{version}".lower())
    (folder / "gdk-config.json").unlink()
    recipe = folder / "recipe.yaml"
    lines = [line for line in recipe.read_text().splitlines() if "service:" not in line and "endpoints:" not in line]
    text = "\n".join(lines).replace("DefaultConfiguration:", "DefaultConfiguration: {}")
    recipe.write_text(text.replace("Version: 1.0.0", f"Version: {version}") + "\n")
    if needs:
        needing(folder, **needs)


def test_what_a_component_needs_comes_along_in_the_newest_version_that_all_can_take(
    fabric: Fabric, components_path: Path
) -> None:
    for version in ("1.0.0", "1.2.0", "1.10.0", "2.0.0"):
        plain(components_path, "Cache", version, Disk=">=1.0.0")
    plain(components_path, "Disk", "1.0.0")
    plain(components_path, "Unneeded", "1.0.0")
    needing(components_path / "web", Cache="^1.1.0", Nowhere="^1.0.0 SOFT")
    needing(components_path / "resize", Cache="<1.10.0", Disk="* SOFT")
    library = pack_all([components_path], "http://127.0.0.1:8080")
    deployments.check(fabric, library)
    document = deployments.documents(fabric, library, None)["edge1"]
    versions = {name.removeprefix("org.example."): one.component_version for name, one in document.components.items()}
    assert versions == {"Cache": "1.2.0", "Disk": "1.0.0", "Resize": "1.0.0", "Web": "1.0.0"}
    assert document.components["org.example.Cache"].configuration_update is None
    assert document.recipes["org.example.Cache"].uri.endswith("/recipes/org.example.Cache-1.2.0.yaml")


def test_triggers_go_to_each_instance_and_the_ones_before_are_forgotten(fabric: Fabric, components: Library) -> None:
    night = Trigger("at_least_once", schedule="0 3 * * *")
    web = fabric.services["web"].model_copy(update={"triggers": {"night": night}})
    triggered = fabric.model_copy(update={"services": {**fabric.services, "web": web}})
    for node in ("edge1", "edge2"):
        document = deployments.documents(triggered, components, None)[node]
        update = document.components["org.example.Web"].configuration_update
        assert update is not None
        before = {"triggers": {"day": {"topic": "a", "delivery": "at_most_once"}}, "other": 1}
        read = ServiceConfiguration.read(configuration := updated(before, {}, update))
        assert read is not None and read.triggers == {"night": night} and configuration["other"] == 1
    without = deployments.documents(fabric, components, None)["edge1"].components["org.example.Web"]
    assert not updated(before, {}, without.configuration_update).get("triggers")


def test_triggers_in_a_recipe_are_refused(fabric: Fabric, components_path: Path) -> None:
    recipe = components_path / "web" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("    service: web\n", "    service: web\n    Triggers: {a: 1}\n"))
    library = pack_all([components_path], "http://127.0.0.1:8080")
    with pytest.raises(deployments.DeploymentError, match="service web: expected triggers here, not in the config"):
        deployments.check(fabric, library)


@pytest.mark.parametrize(
    ("web", "resize", "problem"),
    [
        ("^2.0.0", "^1.0.0", r"needs org\.example\.Cache \^1\.0\.0 and .*\^2\.0\.0, but there is 2\.0\.0, 1\.0\.0"),
        ("^3.0.0", "*", r"Web 1\.0\.0 needs org\.example\.Cache \^3\.0\.0.* but there is 2\.0\.0, 1\.0\.0"),
    ],
)
def test_what_contradicts_is_named(fabric: Fabric, components_path: Path, web: str, resize: str, problem: str) -> None:
    for version in ("1.0.0", "2.0.0"):
        plain(components_path, "Cache", version)
    needing(components_path / "web", Cache=web)
    needing(components_path / "resize", Cache=resize)
    with pytest.raises(deployments.DeploymentError, match=problem) as error:
        deployments.check(fabric, pack_all([components_path], "http://127.0.0.1:8080"))
    assert str(error.value).startswith("node edge1: org.example.")


def test_what_is_missing_is_named_with_who_needs_it(fabric: Fabric, components_path: Path) -> None:
    plain(components_path, "Cache", "1.0.0", Disk="^1.0.0")
    needing(components_path / "web", Cache="*")
    problem = r"Cache 1\.0\.0 needs org\.example\.Disk \^1\.0\.0, but there is none"
    with pytest.raises(deployments.DeploymentError, match=problem):
        deployments.check(fabric, pack_all([components_path], "http://127.0.0.1:8080"))


def test_a_function_that_is_needed_must_be_an_instance_there(fabric: Fabric, components_path: Path) -> None:
    write_component(components_path, "org.example.Detect", "detect")
    needing(components_path / "web", Detect="*")
    with pytest.raises(deployments.DeploymentError, match=r"org\.example\.Detect is needed there and serves detect"):
        deployments.check(fabric, pack_all([components_path], "http://127.0.0.1:8080"))


def test_a_component_whose_recipe_names_nobody_finds_everybody(fabric: Fabric, components_path: Path) -> None:
    recipe = components_path / "resize" / "recipe.yaml"
    recipe.write_text("".join(line for line in recipe.open() if "endpoints" not in line))
    components = pack_all([components_path], "http://127.0.0.1:8080")
    document = deployments.documents(fabric, components, None)["edge1"]
    assert set(merged(document, "org.example.Resize")["endpoints"]) == {"resize", "web"}
    assert set(merged(document, "org.example.Web")["endpoints"]) == {"resize", "web"}
