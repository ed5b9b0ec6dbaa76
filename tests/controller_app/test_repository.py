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
from controller.nodes.components import Library, pack, pack_all
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
            repository.application(components.all()),
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
