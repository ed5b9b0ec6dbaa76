"""Components: packed as gdk does, told apart by content, served over HTTP, and checked before."""

import asyncio
import base64
import hashlib
import io
import zipfile
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from controller.fabric.file import Fabric
from controller.nodes import deployments, repository
from controller.nodes.components import Library, lacking, pack, pack_all
from hitless.component.recipe import Recipe, RecipeError
from tests.controller_app.support import write_component
from tests.ports import free_port

URL = "http://127.0.0.1:8080"


def test_the_published_recipe_has_address_and_digest_of_every_artefact(components_path: Path) -> None:
    component = pack(components_path / "resize", URL)
    (artifact,) = Recipe.parse(component.document.decode(), "published").manifests[0].artifacts
    assert artifact.uri == f"{URL}/artifacts/org.example.Resize/1.0.0/main.py"
    content = (components_path / "resize" / "main.py").read_bytes()
    assert artifact.algorithm == "SHA-256"
    assert artifact.digest == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert component.sha256 == hashlib.sha256(component.document).hexdigest()


def test_the_same_files_make_the_same_component_and_others_another(components_path: Path) -> None:
    folder = components_path / "resize"
    before = pack(folder, URL)
    assert pack(folder, URL).sha256 == before.sha256
    (folder / "main.py").write_text("def lambda_handler(event, context):\n    return 1\n")
    assert pack(folder, URL).sha256 != before.sha256


def test_gdks_placeholders_are_filled_in(components_path: Path) -> None:
    recipe = components_path / "resize" / "recipe.yaml"
    text = recipe.read_text()
    text = text.replace("Name: org.example.Resize", 'Name: "{COMPONENT_NAME}"')
    recipe.write_text(text.replace("Version: 1.0.0", 'Version: "{COMPONENT_VERSION}"'))
    packed = pack(components_path / "resize", URL)
    assert (packed.recipe.name, packed.recipe.version) == ("org.example.Resize", "1.0.0")


def test_a_zip_that_is_no_file_is_the_folder_itself_always_the_same(components_path: Path) -> None:
    folder = components_path / "resize"
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("VERSION/main.py", "VERSION/resize.zip\n        Unarchive: ZIP"))
    packed = pack(folder, URL)
    archive = zipfile.ZipFile(io.BytesIO(packed.files["resize.zip"]))
    assert archive.namelist() == ["main.py"]
    (folder / "main.py").touch()
    assert pack(folder, URL).files == packed.files


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("main.py", "nain.py", "recipe.yaml:13: Manifests.0.Artifacts.0.Uri: expected a file of the component"),
        ("main.py", "../main.py", "recipe.yaml:13: Manifests.0.Artifacts.0.Uri: expected a file name"),
        ("org.example.Resize", "org.example.Size", "recipe.yaml:2: ComponentName: expected org.example.Resize"),
        (
            "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/",
            "ftp://other/",
            "recipe.yaml:13: Manifests.0.Artifacts.0.Uri: expected s3://BUCKET_NAME",
        ),
        ("Lifecycle", "Lifecyle", "recipe.yaml:10: Manifests.0.Lifecyle: unknown field"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field(
    components_path: Path, wrong: str, right: str, expected: str
) -> None:
    recipe = components_path / "resize" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(wrong, right))
    with pytest.raises(RecipeError) as error:
        pack_all([components_path], URL)
    assert expected in str(error.value)


def test_a_name_that_comes_twice_is_a_mistake(components_path: Path) -> None:
    write_component(components_path, "org.example.Web", "again")
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: ComponentName: expected a name or version of its own"):
        pack_all([components_path], URL)


def test_a_folder_without_components_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="found none"):
        pack_all([tmp_path], URL)


async def _get(application: web.Application, *paths: str) -> list[tuple[int, bytes]]:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    answers = []
    try:
        async with aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    answers.append((answer.status, await answer.read()))
    finally:
        await runner.cleanup()
    return answers


def test_recipes_and_artefacts_are_served_and_nothing_else(components_path: Path) -> None:
    components = pack_all([components_path], URL)
    web_component = components["org.example.Web"]
    answers = asyncio.run(
        _get(
            repository.application(components.all),
            "/recipes/org.example.Web-1.0.0.yaml",
            "/artifacts/org.example.Web/1.0.0/main.py",
            "/artifacts/org.example.Web/1.0.0/../../../web/gdk-config.json",
            "/",
        )
    )
    assert answers[0] == (200, web_component.document)
    assert answers[1] == (200, (components_path / "web" / "main.py").read_bytes())
    assert [status for status, _ in answers[2:]] == [404, 404]


def test_every_service_needs_a_component_and_each_node_one_for_each(fabric: Fabric, components_path: Path) -> None:
    components = pack_all([components_path], URL)
    deployments.check(fabric, components)
    without = Library(one for one in components.all() if one.recipe.name != "org.example.Web")
    with pytest.raises(
        deployments.DeploymentError, match=r"service web: expected one of .*Resize, got org\.example\.Web"
    ):
        deployments.check(fabric, without)
    both = fabric.services["web"].model_copy(update={"component": "org.example.Resize"})
    twice = fabric.model_copy(update={"services": {**fabric.services, "web": both}})
    with pytest.raises(deployments.DeploymentError, match=r"web: org\.example\.Resize already serves resize on edge1"):
        deployments.check(twice, components)


def test_without_switches_the_services_of_a_node_need_ports_of_their_own(fabric: Fabric, components_path: Path) -> None:
    components = pack_all([components_path], URL)
    resize = fabric.services["resize"].model_copy(update={"protocol": "tcp", "port": 80})
    same = fabric.model_copy(update={"services": {**fabric.services, "resize": resize}})
    deployments.check(same, components)
    with pytest.raises(deployments.DeploymentError, match=r"service web: .* resize has tcp port 80 of edge1 too"):
        deployments.check(same, components, at_node_addresses=True)


RECIPE = """\
RecipeFormatVersion: 2020-01-25
ComponentName: "{COMPONENT_NAME}"
ComponentVersion: NEXT_PATCH
Manifests:
  - Platform: {os: linux}
    Lifecycle: {install: {Script: docker pull x, RequiresPrivilege: true}, run: "{artifacts:path}/run.sh"}
    artifacts: [{URI: "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/run.sh", permission: {execute: owner}}]
"""
NEEDY = """\
  org.example.Needy: {VersionRequirement: "*"}
  aws.greengrass.Nucleus: {VersionRequirement: ">=2.9.0"}
"""


def test_trees_of_the_development_kit_and_of_its_cli_are_taken_at_any_depth(tmp_path: Path) -> None:
    one = tmp_path / "group" / "pump"
    (one / "scripts").mkdir(parents=True)
    (one / "scripts" / "run.sh").write_text("exit 0\n")
    (one / "recipe.json").write_text(RECIPE)
    settings = '{"component": {"org.example.Pump": {"version": "NEXT_PATCH", "build": {"build_system": "zip"}}}}'
    (one / "gdk-config.json").write_text(settings)
    # What the kit has built of it is not another component.
    (one / "greengrass-build" / "recipes").mkdir(parents=True)
    (one / "greengrass-build" / "recipes" / "recipe.yaml").write_text(RECIPE)
    older = tmp_path / "local"
    (older / "recipes").mkdir(parents=True)
    (older / "artifacts" / "org.example.Pump" / "1.4.1").mkdir(parents=True)
    (older / "artifacts" / "org.example.Pump" / "1.4.1" / "run.sh").write_text("exit 1\n")
    text = RECIPE.replace('"{COMPONENT_NAME}"', "org.example.Pump").replace("NEXT_PATCH", "1.4.1")
    (older / "recipes" / "org.example.Pump-1.4.1.yaml").write_text(text)
    library = pack_all([tmp_path], URL)
    found = {component.recipe.version: component.files["run.sh"] for component in library.all()}
    assert found == {"1.4.1": b"exit 1\n", "1.4.2": b"exit 0\n"}
    published = Recipe.parse(library["org.example.Pump"].document.decode(), "published").manifests[0].artifacts[0]
    assert published.uri == f"{URL}/artifacts/org.example.Pump/1.4.2/run.sh"
    assert published.digest is not None


def test_a_component_that_is_built_by_other_means_must_be_built_before(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("NEXT_PATCH", "1.0.0"))
    settings = '{"component": {"org.example.Pump": {"version": "1.0.0", "build": {"build_system": "maven"}}}}'
    (tmp_path / "gdk-config.json").write_text(settings)
    with pytest.raises(RecipeError, match=r"recipe.yaml:7: .*run\.sh: build it with `gdk component build` first"):
        pack_all([tmp_path], URL)
    built = tmp_path / "greengrass-build" / "artifacts" / "org.example.Pump" / "1.0.0"
    built.mkdir(parents=True)
    (built / "run.sh").write_text("exit 2\n")
    assert pack_all([tmp_path], URL)["org.example.Pump"].files == {"run.sh": b"exit 2\n"}


def test_what_a_component_needs_and_the_fabric_has_not_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "run.sh").touch()
    recipe = tmp_path / "org.example.Pump.yaml"
    access = (
        "{aws.greengrass.ipc.pubsub: {p: {operations: [aws.greengrass#Nonsense, aws.greengrass#PublishToTopic]}},"
        " aws.greengrass.ipc.mqttproxy: {p: {operations: ['*']}}, aws.greengrass.Nonsense: {p: {operations: ['*']}}}"
    )
    recipe.write_text(
        RECIPE + f"ComponentDependencies:\n{NEEDY}"
        f"ComponentConfiguration:\n  DefaultConfiguration:\n    accessControl: {access}\n"
    )
    told = lacking(pack_all([recipe], URL))
    lines = {line.partition(" needs ")[2].split(":")[0]: line.split(":")[1] for line in told}
    assert lines == {
        "org.example.Needy *": "9",
        "aws.greengrass#Nonsense (aws.greengrass.ipc.pubsub)": "13",
        "* (aws.greengrass.Nonsense)": "13",
        "root for install (RequiresPrivilege)": "6",
        "docker for install": "6",
    }


def test_components_that_serve_nothing_run_on_the_nodes_that_name_them(fabric: Fabric, components_path: Path) -> None:
    plain = components_path / "plain"
    plain.mkdir()
    (plain / "recipe.yaml").write_text(RECIPE.replace('"{COMPONENT_NAME}"', "org.example.Pump"))
    (plain / "run.sh").touch()
    components = pack_all([components_path], URL)
    edge1 = fabric.nodes["edge1"].model_copy(update={"components": ["org.example.Pump"]})
    wanted = fabric.model_copy(update={"nodes": {**fabric.nodes, "edge1": edge1}})
    deployments.check(wanted, components)
    documents = deployments.documents(wanted, components, None)
    assert documents["edge1"].components["org.example.Pump"].component_version == "1.0.0"
    assert [node for node, one in documents.items() if "org.example.Pump" in one.components] == ["edge1"]
    missing = edge1.model_copy(update={"components": ["org.example.Tank"]})
    with pytest.raises(deployments.DeploymentError, match=r"node edge1: expected some of .*, got org\.example\.Tank"):
        deployments.check(fabric.model_copy(update={"nodes": {**fabric.nodes, "edge1": missing}}), components)
