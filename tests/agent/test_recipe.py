"""Recipes, the agent's configuration file, and what lies on the node's disk: mistakes are named, damage is refused."""

import asyncio
import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from greengrass_agent import config
from greengrass_agent.config import ArchiveSettings, ConfigError
from greengrass_agent.deployment.download import Downloader
from greengrass_agent.deployment.plan import Installed, environment_of, steps_of
from greengrass_agent.deployment.record import Record, Result, UnderWay
from greengrass_agent.deployment.store import Store
from greengrass_agent.deployment.transfer import DownloadError
from hitless.component.recipe import Recipe, RecipeError
from hitless.mqtt.messages import DeploymentInformation
from tests.agent.support import repository

RECIPE = """\
RecipeFormatVersion: "2020-01-25"
ComponentName: org.example.Echo
ComponentVersion: 1.2.3
ComponentDependencies:
  org.example.Base: {VersionRequirement: ">=1.0.0 <2.0.0"}
Manifests:
  - Platform: {os: linux, runtime: "*"}
    Lifecycle:
      Setenv: {A: "1", B: "2"}
      Run:
        Script: exec echo {artifacts:path}
        Setenv: {B: "3"}
        Timeout: 7
      shutdown: "true"
"""


def test_a_recipe_is_read_whatever_the_case_of_its_steps() -> None:
    recipe = Recipe.parse(RECIPE, "recipe.yaml")
    steps = steps_of(recipe)
    assert {name: step.timeout for name, step in steps.items()} == {"run": 7, "shutdown": None}
    assert environment_of(recipe, steps["run"]) == {"A": "1", "B": "3"}
    needed = recipe.dependencies["org.example.Base"]
    assert [needed.met_by(version) for version in ("0.9.0", "1.9.9", "2.0.0")] == [False, True, False]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("ComponentVersion: 1.2", "ComponentVersion: 1.2.3", "r.yaml:3: ComponentVersion: expected a semantic version"),
        ("        Timeout: soon", "        Timeout: 7", "r.yaml:13: Manifests.0.Lifecycle.run.Timeout: expected"),
        ("        Skript: x\n        Timeout: 7", "        Timeout: 7", "r.yaml:13: Manifests.0.Lifecycle.run.Skript"),
        ('">=1.x"', '">=1.0.0 <2.0.0"', None),
        ('"soon"', '">=1.0.0 <2.0.0"', "r.yaml:5: ComponentDependencies.org.example.Base.VersionRequirement: expected"),
        ("ComponentName: [", "ComponentName: org.example.Echo", "r.yaml:"),
    ],
)
def test_a_mistake_has_file_line_and_field(wrong: str, right: str, expected: str | None) -> None:
    text = RECIPE.replace(right, wrong)
    assert text != RECIPE
    if expected is None:
        Recipe.parse(text, "r.yaml")
        return
    with pytest.raises(RecipeError) as error:
        Recipe.parse(text, "r.yaml")
    assert str(error.value).startswith(expected)


def test_a_configuration_mistake_has_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("thing: edge1\nnode_id: 70000\nnode_adress: 10.0.0.1\n")
    with pytest.raises(ConfigError) as error:
        config.load(file)
    lines = str(error.value).splitlines()
    assert f"{file}:2: node_id: expected less than 65536, got 70000" in lines
    assert f"{file}:3: node_adress: unknown field" in lines
    assert any(line.startswith(f"{file}:1: broker: expected") for line in lines)


def recipe_with(uri: str, content: bytes, **more: Any) -> Recipe:
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Recipe.model_validate(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": "A",
            "ComponentVersion": "1.0.0",
            "Manifests": [{"Artifacts": [{"Uri": uri, "Digest": digest, "Algorithm": "SHA-256", **more}]}],
        }
    )


def fetch(store: Store, installed: Installed) -> None:
    async def run() -> None:
        async with Downloader.open(store, ArchiveSettings()) as downloader:
            await downloader.artifacts({"A": installed})

    asyncio.run(run())


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bin/run")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, "#!/bin/sh\n")
    store = Store(tmp_path / "root")
    with repository(tmp_path / "repository") as served:
        (served.folder / "a.zip").write_bytes(packed.getvalue())
        one = Installed(recipe_with(f"{served.url}/a.zip", packed.getvalue(), Unarchive="ZIP"), "d" * 64, {})
        fetch(store, one)
    unpacked = store.unarchived("A", one) / "a"
    assert (unpacked / "bin/run").stat().st_mode & 0o777 == 0o755
    # What is here and right is not fetched again: the repository has gone.
    fetch(store, one)


def test_an_artefacts_permission_is_that_of_its_file_and_of_all_files_in_it(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("bin/run"), "#!/bin/sh\n")
    store = Store(tmp_path / "root")
    with repository(tmp_path / "repository") as served:
        (served.folder / "a.zip").write_bytes(packed.getvalue())
        more = {"Unarchive": "ZIP", "Permission": {"Read": "ALL", "Execute": "OWNER"}}
        one = Installed(recipe_with(f"{served.url}/a.zip", packed.getvalue(), **more), "d" * 64, {})
        fetch(store, one)
    for file in (store.artifacts("A", one) / "a.zip", store.unarchived("A", one) / "a" / "bin" / "run"):
        assert file.stat().st_mode & 0o777 == 0o744


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("file:///etc/passwd", "expected an http or https address"),
        ("s3://BUCKET_NAME/A/1.0.0/a.py", "was the component published"),
        ("{url}/missing.py", "answers 404"),
        ("{url}/", "names no file"),
        ("{url}/wrong.py", "SHA-256 is"),
    ],
)
def test_an_artefact_that_cannot_be_had_is_named(tmp_path: Path, uri: str, problem: str) -> None:
    store = Store(tmp_path / "root")
    with repository(tmp_path / "repository") as served:
        (served.folder / "wrong.py").write_text("something else")
        one = Installed(recipe_with(uri.format(url=served.url), b"content"), "d" * 64, {})
        with pytest.raises(DownloadError, match=problem):
            fetch(store, one)
    assert not list((tmp_path / "root").rglob("*.py"))


def test_what_is_saved_is_read_again_and_the_rest_is_pruned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.load() == Record()
    parsed = Recipe.parse(RECIPE, "r")
    one = Installed(parsed, hashlib.sha256(RECIPE.encode()).hexdigest(), {"x": [1]})
    old = Installed(parsed, "0" * 64, {})
    for installed in (one, old):
        file = store.recipe_file(parsed.name, parsed.version, installed.digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(RECIPE)
        store.artifacts(parsed.name, installed).mkdir(parents=True)
    way = UnderWay("k", "e", "d", {parsed.name: old}, (parsed.name,), roll_back=True, reason="broken")
    results = {"j": Result("FAILED", "FAILED_NO_STATE_CHANGE", "why")}
    record = Record("d", {parsed.name: one}, results, untold=("j",), under_way=way)
    store.save(record)
    assert store.load() == record
    record = Record("d", {parsed.name: one}, results)
    store.save(record)
    (store.artifacts(parsed.name, one) / ".big.zip.part").touch()
    store.prune(record.components)
    assert store.load() == record
    assert store.artifacts(parsed.name, one).is_dir()
    assert not store.artifacts(parsed.name, old).exists()
    assert list(store.artifacts(parsed.name, one).iterdir()) == [], "what came only in part is pruned too"


@pytest.mark.parametrize("damage", ["{", '{"format": 2}', json.dumps({"format": 1}), "[]"])
def test_a_damaged_state_is_set_aside_and_told(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "deployment.json").write_text(damage)
    assert Store(tmp_path).load() == Record()
    assert (tmp_path / "deployment.json.broken").read_text() == damage
    assert f"{tmp_path}/deployment.json: expected a saved deployment" in caplog.text
    assert "the controller sends them again" in caplog.text
    Store(tmp_path).save(Record("d"))
    assert Store(tmp_path).load() == Record("d")


def test_a_component_whose_package_is_lost_is_sent_again_and_the_others_stay(tmp_path: Path) -> None:
    store, parsed = Store(tmp_path), Recipe.parse(RECIPE, "r")
    here, lost = Installed(parsed, "1" * 64, {}), Installed(parsed, "2" * 64, {})
    file = store.recipe_file(parsed.name, parsed.version, here.digest)
    file.parent.mkdir(parents=True)
    file.write_text(RECIPE)
    store.save(
        Record("d", {parsed.name: here}, information=DeploymentInformation(deployment_id="d", status="SUCCEEDED"))
    )
    assert store.load().information is not None
    store.save(
        Record("d", {parsed.name: lost}, information=DeploymentInformation(deployment_id="d", status="SUCCEEDED"))
    )
    loaded = store.load()
    assert (loaded.components, loaded.information) == ({}, None), "so that the controller sends the deployment again"
