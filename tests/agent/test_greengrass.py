"""Components as they are written for Greengrass, on an agent: variables, bootstrap, time limits, uninstall."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.support import Repository, RunningAgent, running_agent
from tests.patience import until

BUDGET = "greengrass-test"
SKIP = {"componentUpdatePolicy": {"action": "SKIP_NOTIFY_COMPONENTS"}}


def publish(repository: Repository, name: str, lifecycle: dict[str, Any], **more: Any) -> dict[str, str]:
    """Put a recipe there whose keys are written in capitals; returns the `recipes` entry of a deployment."""
    recipe = {
        "RECIPEFORMATVERSION": "2020-01-25",
        "COMPONENTNAME": name,
        "COMPONENTVERSION": "1.0.0",
        "MANIFESTS": [{"PLATFORM": {"OS": "linux"}, "LIFECYCLE": lifecycle}],
        **more,
    }
    text = json.dumps(recipe)
    file = repository.folder / f"{name}.json"
    file.write_text(text)
    return {"uri": f"{repository.url}/{file.name}", "sha256": hashlib.sha256(text.encode()).hexdigest()}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningAgent]:
    reports = {"address": "127.0.0.1", "interval_ms": 10}
    with running_agent(tmp_path, BUDGET, 0.6, reports=reports) as agent:
        yield agent


def test_components_written_for_greengrass_come_up_restart_the_agent_and_clean_up(running: RunningAgent) -> None:
    repository, told, root = running.repository, running.controller, running.own.root
    sources = {
        "org.example.Base": publish(
            repository,
            "org.example.Base",
            {"RUN": "exec sleep 1000", "uninstall": "echo gone >> {work:path}/gone"},
            COMPONENTCONFIGURATION={"DEFAULTCONFIGURATION": {"Port": 1111}},
        ),
        "org.example.Dependent": publish(
            repository,
            "org.example.Dependent",
            {
                "SETENV": {"BASE": "{org.example.Base:artifacts:path}"},
                "RUN": "cd $BASE && echo {org.example.Base:configuration:/port} {iot:thingName} {configuration:/none}"
                " > {work:path}/said; exec sleep 1000",
            },
            COMPONENTDEPENDENCIES={"org.example.Base": {"VERSIONREQUIREMENT": ">= 1.0.0 < 2.0.0"}},
        ),
        "org.example.Bootstrapped": publish(
            repository,
            "org.example.Bootstrapped",
            {"BOOTSTRAP": {"SCRIPT": "echo done >> {work:path}/done; exit 100"}, "RUN": "exec sleep 1000"},
        ),
    }
    told.offer("up", {name: {"componentVersion": "1.0.0"} for name in sources}, sources, **SKIP)
    assert told.result("up")["status"] == "SUCCEEDED"
    work = root / "work"
    assert (work / "org.example.Bootstrapped" / "done").read_text() == "done\n", "once, though the agent began anew"
    file = work / "org.example.Dependent" / "said"
    said = until(lambda: file.exists() and file.read_text(), "what the dependent says")
    assert said == "1111 n1 {configuration:/none}\n"
    assert len(told.of("jobs/start-next")) == 2, "the agent has begun anew and asked for its job"
    assert running.process.poll() is None

    told.offer("down", {}, {}, **SKIP)
    assert told.result("down")["status"] == "SUCCEEDED"
    assert (work / "org.example.Base" / "gone").read_text() == "gone\n"


def test_a_reboot_that_the_owner_does_not_allow_is_told(running: RunningAgent) -> None:
    name = "org.example.Reboots"
    source = publish(running.repository, name, {"Bootstrap": "exit 101", "Run": "exec sleep 1000"})
    running.controller.offer("reboots", {name: {"componentVersion": "1.0.0"}}, {name: source})
    details = running.controller.result("reboots")["statusDetails"]
    assert details["detailedStatus"] == "FAILED_ROLLBACK_COMPLETE"
    assert "allow_reboot" in details["reason"]
