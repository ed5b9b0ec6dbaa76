"""docs/functions.md: its function runs, its component and its service are taken as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from controller.fabric.file import load
from controller.nodes import deployments
from controller.nodes.components import base_url, pack_all
from hitless.wire.worker_frames import HttpHead
from tests.docs.commands import ROOT
from tests.hitless.gateway import runtime
from tests.hitless.peer import Peer

PAGE = (ROOT / "docs" / "functions.md").read_text()


def block(language: str, number: int = 0) -> str:
    """A block of the page."""
    return str(re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[number])


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """The example functions, with the page's among them."""
    folder = tmp_path / "apps"
    shutil.copytree(ROOT / "apps", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "shout").mkdir()
    for name, text in (
        ("shout.py", block("python")),
        ("recipe.yaml", block("yaml")),
        ("gdk-config.json", block("json")),
    ):
        (folder / "shout" / name).write_text(text)
    return folder


def test_its_service_fits_into_the_fabric_with_its_component(apps: Path, tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text((ROOT / "topologies" / "pair.yaml").read_text() + "\n" + block("yaml", 1))
    fabric = load(path)
    components = pack_all([apps], base_url(fabric))
    deployments.check(fabric, components)
    shout = components["org.example.Shout"]
    assert set(shout.files) == {"shout.py"}
    configuration = shout.recipe.configuration.default
    assert configuration["service"] == "shout" and "shout" in fabric.services
    called = fabric.services["detect"]
    assert configuration["endpoints"]["detect"] == {
        "address": str(called.address),
        "port": called.port,
        "service_id": called.service_id,
        "protocol": called.protocol,
    }


def test_its_function_answers_over_http_and_udp(apps: Path, tmp_path: Path) -> None:
    http = HttpHead("POST", "/", headers={"content-type": "text/plain"})
    with (
        Peer(lambda request: request.answer(200, b"[]"), service_id=2) as detect,
        runtime("shout.lambda_handler", apps / "shout", tmp_path) as running,
    ):
        address, port = detect.address
        running.worker.configure(
            longest=1000, endpoints={"detect": {"address": address, "port": port, "service_id": 2, "protocol": "udp"}}
        )
        for response in (running.worker.call(b"hello", http=http), running.worker.call(b"hello")):
            assert (response.status, json.loads(response.body)) == (200, {"shout": "HELLO", "detect": 200})
        assert [request.payload for request in detect.executed] == [b"hello", b"hello"]
        assert running.worker.call(bytes(1001)).status == 413


def test_its_bootstrap_answers(tmp_path: Path) -> None:
    program = tmp_path / "bootstrap"
    program.write_text(block("bash"))
    program.chmod(0o755)
    with runtime("bootstrap", tmp_path, tmp_path, "--bootstrap", "bootstrap") as running:
        for _ in range(2):
            answer = running.worker.call(http=HttpHead("GET", "/"))
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
            assert re.fullmatch(rb"\d{3} bytes, read on edge1\n", answer.body)
