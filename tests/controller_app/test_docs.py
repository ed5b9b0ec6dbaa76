"""docs/api.md: every call is there and no other, its curl lines run, and its examples are what the code reads."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from controller.fabric.file import Fabric
from controller.observe.events import Event, decode
from controller.observe.log import EventLog
from controller.operator import api, openapi
from controller.operator.client import RefusedError
from controller.operator.documents import (
    DEPLOY_ENTRY,
    LOG_ENTRY,
    DeployResult,
    Document,
    DrainResult,
    ExcludeResult,
    MigrateResult,
    ReleaseResult,
    RestartResult,
    RotateKeysResult,
    Status,
    UndeployResult,
)
from controller.operator.sentences import describe
from tests.controller_app.fake_node import FakeNode
from tests.controller_app.support import ROOT, Running
from tests.mosquitto import Mosquitto
from tests.patience import PATIENCE, until_async

TEXT = (ROOT / "docs" / "api.md").read_text()
SECTIONS = dict(re.findall(r"^## ((?:GET|POST) \S+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
"""METHOD /path -> its text."""
ANSWERS: dict[str, type[Document]] = {
    "GET /v1/status": Status,
    "POST /v1/migrate": MigrateResult,
    "POST /v1/release": ReleaseResult,
    "POST /v1/drain": DrainResult,
    "POST /v1/exclude": ExcludeResult,
    "POST /v1/include": ExcludeResult,
    "POST /v1/restart": RestartResult,
    "POST /v1/rotate-keys": RotateKeysResult,
    "POST /v1/undeploy": UndeployResult,
}
LINES = {"GET /v1/logs": LOG_ENTRY, "POST /v1/deploy": DEPLOY_ENTRY}
"""Those that are answered in lines, but for events."""

NODES = ("POST /v1/exclude", "POST /v1/include")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], re.M | re.S)


def test_every_call_is_there_and_no_other() -> None:
    async def status() -> Status:
        raise AssertionError("nobody asks")

    application = api.application(status, cast(Any, None), cast(Any, None), EventLog(describe))
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in application.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert set(SECTIONS) == routes
    assert routes == {f"{call.method} {call.path}" for call in openapi.CALLS}
    assert {f"{call.method} {call.path}": call.answer for call in openapi.CALLS if call.answer is not None} == ANSWERS
    assert all(blocks(name, "sh") and blocks(name, "json") for name in SECTIONS)


@pytest.mark.parametrize("call", [call for call in openapi.CALLS if call.body is not None], ids=lambda call: call.path)
def test_the_bodies_have_the_fields_of_the_code(call: openapi.Call) -> None:
    assert call.body is not None
    section = SECTIONS[f"{call.method} {call.path}"]
    (line,) = blocks(f"{call.method} {call.path}", "sh")
    fields = set(call.body.model_fields)
    assert fields >= set(json.loads(line.partition(" -d ")[2].strip().strip("'")))
    assert all(re.search(rf"[`\"]{field}[`\"]", section) for field in fields)
    if table := re.search(r"^\| request \| \|\n\|---\|---\|\n((?:\|.*\n)+)", section, re.M):
        named = {name for row in table[1].splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        assert named == fields


@pytest.mark.parametrize("section", ANSWERS)
def test_the_answers_have_the_fields_of_the_code(section: str) -> None:
    (example,) = (json.loads(block) for block in blocks(section, "json"))
    read = ANSWERS[section].model_validate(example)
    assert json.loads(read.encode()) == example


@pytest.mark.parametrize("section", LINES)
def test_the_lines_have_the_fields_of_the_code(section: str) -> None:
    (example,) = blocks(section, "json")
    kinds = set()
    for line in example.splitlines():
        read = LINES[section].validate_json(line)
        kinds.add(type(read))
        assert json.loads(read.encode()) == json.loads(line)
    assert kinds == {kind for call in openapi.CALLS if f"{call.method} {call.path}" == section for kind in call.lines}


def test_the_events_have_the_fields_of_the_code() -> None:
    (lines,) = blocks("GET /v1/events", "json")
    kinds = set()
    for line in lines.splitlines():
        event = decode(line)
        kinds.add(type(event))
        assert json.loads(event.encode()) == json.loads(line)
        row = next(row for row in SECTIONS["GET /v1/events"].splitlines() if row.startswith(f"| `{event.kind}`"))
        named = {"seq", "time_ns", "kind", *re.findall(r"`(\w+)`", row)}
        missing = set(json.loads(line)) - named
        assert not missing, f"{event.kind} does not name {missing}"
    assert kinds == set(get_args(Event))


def curl(running: Running, command: str) -> tuple[int, str]:
    """Run a line of the page, about a service of the small fabric; returns curl's exit code and what it wrote."""
    done = subprocess.run(
        ["bash", "-c", command.replace("thumbnail", "web").replace("curl ", "curl --max-time 5 ", 1)],
        env={**os.environ, "SOCKET": str(running.socket)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def answer(running: Running, section: str) -> dict[str, Any]:
    (line,) = blocks(section, "sh")
    code, text = curl(running, line)
    assert code == 0
    document: dict[str, Any] = json.loads(text)
    return document


@needs_curl
def test_the_curl_lines_run(running: Running, fabric_path: Path) -> None:
    text = fabric_path.read_text()
    fabric_path.write_text(text.replace("switches:", "reports: {authentication: required}\nswitches:", 1))
    running.start()
    for section in ("GET /v1/status", "POST /v1/drain", "POST /v1/release", *NODES, "POST /v1/rotate-keys"):
        document = answer(running, section)
        assert set(document) == set(ANSWERS[section].model_fields), section
        ANSWERS[section].model_validate(document)
    assert answer(running, "GET /v1/openapi.json") == openapi.description()
    (lines,) = blocks("GET /v1/events", "sh")
    once, follow = lines.splitlines()
    code, text = curl(running, once)
    assert code == 0
    assert [decode(line).seq for line in text.splitlines()] == [1, 2, 3, 4], "each command, once"
    timed_out = 28
    assert curl(running, follow) == (timed_out, text)


@needs_curl
def test_the_curl_line_that_migrates_runs(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    async def scenario() -> None:
        async with FakeNode(fabric, "edge2") as node:
            running.start("--mode", "reconfiguration")
            await until_async(lambda: running.status()["broker"]["connected"], "not connected")
            with pytest.raises(RefusedError, match="web on edge2 is without any report so far"):
                running.client.migrate("web", "edge2")
            assert running.status()["services"]["web"]["held_on"] is None
            await node.tell_metrics("web", cpu=0)
            ready = {"status": "ready"}
            await until_async(
                lambda: ready.items() <= running.status()["services"]["web"]["instances"]["edge2"].items(), "not ready"
            )
            result = MigrateResult.model_validate(await asyncio.to_thread(answer, running, "POST /v1/migrate"))
            assert (result.service, result.node, result.held) == ("web", "edge2", False)
            assert running.status()["services"]["web"]["held_on"] == "edge2"

    asyncio.run(scenario())


@needs_curl
def test_the_curl_line_that_restarts_runs(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    async def scenario() -> None:
        async with FakeNode(fabric, "edge1") as node:
            running.start()
            await until_async(lambda: running.status()["nodes"]["edge1"]["components"], "no components told")
            (line,) = blocks("POST /v1/restart", "sh")
            line = line.replace("org.hitless.examples.Thumbnail", "org.example.Web")
            code, text = await asyncio.to_thread(curl, running, line)
            assert code == 0
            result = RestartResult.model_validate_json(text)
            assert (result.nodes, result.error) == (["edge1"], None)
            assert node.restarts == ["org.example.Web"]

    asyncio.run(scenario())


@needs_curl
def test_the_curl_lines_that_deploy_and_read_logs_run(running: Running, fabric: Fabric, broker: Mosquitto) -> None:
    async def scenario() -> None:
        async with FakeNode(fabric, "edge1", prints={"org.example.Web": ["one", "two"]}) as node:
            running.start("--mode", "reconfiguration")
            await until_async(lambda: running.status()["nodes"]["edge1"]["components"], "no components told")
            (line,) = blocks("POST /v1/deploy", "sh")
            code, text = await asyncio.to_thread(curl, running, line)
            assert code == 0
            *_, result = [DEPLOY_ENTRY.validate_json(one) for one in text.splitlines()]
            assert isinstance(result, DeployResult)
            assert (result.nodes, result.services, result.error) == (["edge1"], ["greet"], None)
            assert node.deployment is not None and "org.example.Greet" in node.deployment.components
            gone = UndeployResult.model_validate(await asyncio.to_thread(answer, running, "POST /v1/undeploy"))
            assert (gone.service, gone.component, gone.versions) == ("greet", "org.example.Greet", ["1.0.0"])
            assert running.status()["services"].keys() == {"resize", "web"}
            (line,) = blocks("GET /v1/logs", "sh")
            code, text = await asyncio.to_thread(curl, running, line)
            assert code == 0
            assert [json.loads(one).get("text") for one in text.splitlines() if "edge1" in one] == ["one", "two"]

    asyncio.run(scenario())


@needs_curl
@pytest.mark.parametrize(
    ("request_line", "status", "error"),
    [
        ("/v1/nothing", 404, "GET /v1/nothing: Not Found"),
        ("/v1/migrate", 405, "GET /v1/migrate: Method Not Allowed"),
        ("/v1/events?since=x", 400, "since: expected a number of 9223372036854775807 at most, got 'x'"),
        ("/v1/release -d '{}'", 400, "service: expected, but missing"),
        ("/v1/release -d '{\"service\": 3}'", 400, "service: expected a valid string, got 3"),
        ('/v1/release -d \'{"service": "web", "now": true}\'', 400, "now: unknown field"),
        ('/v1/release -d \'{"service": "nobody"}\'', 409, "no service nobody in fabric small; services: resize, web"),
        ("/v1/rotate-keys -d '{}'", 409, "reports are not authenticated here"),
    ],
)
def test_errors_have_the_status_that_the_page_says(
    running: Running, request_line: str, status: int, error: str
) -> None:
    assert re.search(rf"^\| .*\b{status}\b.* \|", TEXT, re.M), f"{status} is not on the page"
    running.start()
    path, _, rest = request_line.partition(" ")
    command = f"curl -sS --unix-socket $SOCKET -w '\\n%{{http_code}}' 'http://hitless{path}' {rest}"
    code, text = curl(running, command)
    assert code == 0
    body, _, got = text.rpartition("\n")
    assert int(got) == status
    assert error in json.loads(body)["error"]
