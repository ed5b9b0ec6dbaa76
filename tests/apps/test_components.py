"""The components as they are published: recipe, artefacts and configuration fit one another."""

import ast
import re
from pathlib import Path

import pytest

from controller.nodes.components import Component, pack_all

APPS = Path(__file__).parents[2] / "apps"
COMPONENTS = pack_all([APPS], "http://10.0.0.100:8080")


def test_all_are_there() -> None:
    assert sorted(COMPONENTS) == [f"org.hitless.examples.{name}" for name in ("Detect", "Preprocess", "Thumbnail")]


@pytest.mark.parametrize("component", COMPONENTS.values(), ids=COMPONENTS.keys())
def test_the_handler_is_among_the_artefacts(component: Component) -> None:
    run = component.recipe.manifests[0].lifecycle.run
    assert run is not None
    started = re.fullmatch(
        r"exec python3 -m hitless\.function --handler (\w+)\.(\w+) --artifacts \{artifacts:path\} "
        r"--workers \{configuration:/concurrency\}",
        run.script.strip(),
    )
    assert started, run.script
    module = ast.parse(component.files[f"{started[1]}.py"])
    assert started[2] in [part.name for part in module.body if isinstance(part, ast.FunctionDef)]


@pytest.mark.parametrize("component", COMPONENTS.values(), ids=COMPONENTS.keys())
def test_what_the_code_reads_is_in_the_defaults(component: Component) -> None:
    defaults = component.recipe.configuration.default
    assert {"service", "concurrency", "timeout_ms", "endpoints"} <= defaults.keys()
    code = "".join(data.decode() for name, data in component.files.items() if name.endswith(".py"))
    read = set(re.findall(r'configuration\["(\w+)"\]', code))
    assert read and read <= defaults.keys()
    assert set(re.findall(r'invoke\("(\w+)"', code)) == set(defaults["endpoints"])
