"""`hitless new`: its functions run as they are made, its components are taken as they lie there."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from controller.nodes.components import pack
from controller.operator import starting
from controller.operator.cli import main
from controller.operator.sending import SENT, packed
from tests.patience import PATIENCE

GREETED = {"python": "hello world\n", "node": "hello world\n", "c": "hello from C\n"}
TOOLS = {"python": sys.executable, "node": "node", "c": "make"}
TRIED = {
    "python": "import json, handler; print(json.dumps(handler.lambda_handler(json.load(open('event.json')), None)))",
    "node": "require('./handler').handler(require('./event.json')).then(a => console.log(JSON.stringify(a)))",
}


def new(*words: str) -> Result:
    return CliRunner().invoke(main, ["new", *words])


def tried(folder: Path, language: str) -> dict[str, object]:
    """What the handler in a folder makes of the event beside it."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if language == "c":
        subprocess.run(["make", "-s", "-C", folder], check=True, timeout=PATIENCE)
        command, event = [str(folder / "bootstrap")], (folder / "event.json").read_text()
    else:
        command, event = [TOOLS[language], "-c" if language == "python" else "-e", TRIED[language]], ""
    done = subprocess.run(
        command, cwd=folder, input=event, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("protocol", ["http", "udp"])
@pytest.mark.parametrize("language", [one for one in starting.LANGUAGES if one not in starting.EVENTLESS])
def test_a_new_function_answers_its_event_and_is_a_component(tmp_path: Path, language: str, protocol: str) -> None:
    if shutil.which(TOOLS[language]) is None:
        pytest.skip(f"{TOOLS[language]} is not installed")
    folder = tmp_path / "face-finder"
    result = new(str(folder), "--language", language, "--protocol", protocol)
    assert result.exit_code == 0, result.output
    answer = tried(folder, language)
    assert (answer["statusCode"], answer["body"]) == (200, GREETED[language])
    component = pack(folder, "http://10.0.0.100:8080")
    assert (component.recipe.name, component.recipe.version) == ("org.example.FaceFinder", "1.0.0")
    configuration = component.recipe.configuration.default
    assert (configuration["service"], configuration["protocol"]) == ("face-finder", protocol)
    if language != "python":
        (program, *_) = component.recipe.manifests[0].artifacts
        assert program.permission is not None and program.permission.mode & 0o100


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "greet"
    assert new(str(folder)).exit_code == 0
    (folder / "handler.py").write_text("mine")
    again = new(str(folder))
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    assert (folder / "handler.py").read_text() == "mine"
    bad = new(str(tmp_path / "1 greet"))
    assert bad.exit_code == 1 and "expected a name of letters, digits" in bad.output
    assert [path.name for path in tmp_path.iterdir()] == ["greet"]


@given(st.from_regex(starting._NAME, fullmatch=True))
def test_every_name_is_one_of_a_component(name: str) -> None:
    files = starting.rendered(name, "python", "udp")
    (component,) = json.loads(files["gdk-config.json"][0])["component"]
    assert component == starting.component_name(name)
    assert component.startswith("org.example.") and component.removeprefix("org.example.").isalnum()


def test_what_is_sent_is_the_whole_component(tmp_path: Path) -> None:
    folder = tmp_path / "greet"
    new(str(folder), "--language", "node")
    body = packed(folder, ("edge1",), None, None)
    assert body.next_patch and body.nodes == ["edge1"]
    sent = json.loads(body.model_dump_json())
    assert base64.b64decode(sent["files"]["handler.js"]) == (folder / "handler.js").read_bytes()
    assert f"{SENT}/artifacts/org.example.Greet/1.0.0/bootstrap" in sent["recipe"]
    assert type(body).model_validate_json(json.dumps(sent)) == body
