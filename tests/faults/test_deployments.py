"""Deployments on a node that is killed, whose disk is full or broken: each job has a result, and the next one works."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.deployed import Node, node
from tests.patience import until

pytestmark = pytest.mark.root("CPU budgets and mounts need root")

NAME = "org.example.Plain"
OTHER = "org.example.Other"


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of its own that is soon full."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "hitless-test", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Take all the room that there is."""
    filling = place / "filling"
    with filling.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filling


def sleeper(one: Node, version: str, **options: bytes) -> dict[str, dict[str, str]]:
    return {NAME: one.shelf.recipe(NAME, version, {"run": {"Script": "exec sleep 1000"}}, **options)}


def test_without_room_a_deployment_fails_with_the_reason_and_the_next_one_works(tmp_path: Path) -> None:
    with node(tmp_path) as one, small_disk(one.own.root):
        one.start()
        first = sleeper(one, "1.0.0")
        one.offer("first", {NAME: "1.0.0"}, first)
        assert one.result("first")[0] == "SUCCESSFUL"

        filling = fill(one.own.root)
        # Nothing is to be downloaded: what fails is the save.
        one.offer("unsaved", {NAME: "1.0.0"}, first, changed=1)
        detail, reason = one.result("unsaved")
        assert detail == "FAILED_NO_STATE_CHANGE"
        assert "deployment.json: No space left on device" in reason
        second = sleeper(one, "2.0.0", artifact=bytes(50_000))
        one.offer("full", {NAME: "2.0.0"}, second)
        detail, reason = one.result("full")
        assert detail == "FAILED_NO_STATE_CHANGE"
        assert "No space left" in reason or "has room for" in reason
        assert one.is_at(NAME, "1.0.0", "RUNNING")
        filling.unlink()
        large = sleeper(one, "3.0.0", artifact=bytes(2_000_000))
        one.offer("large", {NAME: "3.0.0"}, large)
        detail, reason = one.result("large")
        assert "needs 2.0 MB, but" in reason
        assert "make room" in reason
        one.offer("again", {NAME: "2.0.0"}, second, changed=1)
        assert one.result("again")[0] == "SUCCESSFUL"
        until(lambda: one.is_at(NAME, "2.0.0", "RUNNING"), "the new version")

        subprocess.run(["mount", "-o", "remount,ro", one.own.root], check=True)
        one.offer("read-only", {NAME: "2.0.0"}, second, changed=2)
        detail, reason = one.result("read-only")
        assert detail == "FAILED_NO_STATE_CHANGE"
        assert "Read-only file system" in reason
        subprocess.run(["mount", "-o", "remount,rw", one.own.root], check=True)
        one.offer("writable", {NAME: "2.0.0"}, second, changed=2)
        assert one.result("writable")[0] == "SUCCESSFUL"
        saved = json.loads((one.own.root / "deployment.json").read_text())
        assert saved["components"][NAME]["configuration"] == {"changed": 2}
        one.end()


def test_a_changed_configuration_reaches_script_and_environment_of_what_does_not_listen(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = {"Script": f"echo {{configuration:/greeting}} $NAME >>{said}; exec sleep 1000"}
    lifecycle = {"setenv": {"NAME": "{configuration:/name}"}, "run": script}
    with node(tmp_path) as one:
        defaults = {"greeting": "hello", "name": "nobody"}
        recipes = {NAME: one.shelf.recipe(NAME, "1.0.0", lifecycle, configuration=defaults)}
        one.start()
        for names in (["world"], ["world", "moon"]):
            one.offer(names[-1], {NAME: "1.0.0"}, recipes, name=names[-1])
            assert one.result(names[-1]) == ("SUCCESSFUL", "")
            heard = [f"hello {name}" for name in names]
            until(lambda heard=heard: said.exists() and said.read_text().splitlines() == heard, "one more start")


def test_an_agent_with_broken_state_files_comes_up_and_says_so(tmp_path: Path) -> None:
    with node(tmp_path) as one:
        broken = [one.own.root / name for name in ("deployment.json", "keys.json", "epochs/agent")]
        for file in broken:
            file.parent.mkdir(exist_ok=True)
            file.write_text("{ torn")
        one.start()
        log = one.log.read_text()
        for file in broken:
            assert file.with_name(f"{file.name}.broken").read_text() == "{ torn"
            assert f"ERROR hitless.files: {file}: " in log
        one.offer("job", {NAME: "1.0.0"}, sleeper(one, "1.0.0"))
        assert one.result("job")[0] == "SUCCESSFUL"


def test_a_job_survives_its_agent_in_every_phase(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gated = {"startup": {"Script": f"until [ -e {gate} ]; do sleep 0.02; done"}}
    with node(tmp_path) as one:
        first = {NAME: one.shelf.recipe(NAME, "1.0.0", gated)}
        other = {OTHER: one.shelf.recipe(OTHER, "1.0.0", {"run": {"Script": "exec sleep 1000"}})}
        one.start()
        one.shelf.held = {f"/{NAME}-1.0.0"}
        one.offer("resolve", {NAME: "1.0.0", OTHER: "1.0.0"}, first | other)
        until(lambda: one.shelf.asked, "the recipe is asked for")
        one.kill()
        one.start()
        one.shelf.held = set()
        one.offer("resolve", {NAME: "1.0.0", OTHER: "1.0.0"}, first | other)
        until(lambda: one.is_at(NAME, "1.0.0", "STARTING"), "it is being tracked")
        one.kill()
        one.start()
        until(lambda: one.is_at(NAME, "1.0.0", "STARTING"), "it starts again")
        assert not [told for told in one.controller.of("jobs/resolve/update") if told["status"] != "IN_PROGRESS"]
        gate.touch()
        assert one.result("resolve") == ("SUCCESSFUL", ""), "although nobody has named it to this agent"

        content = bytes(range(256)) * 1024
        second = {NAME: one.shelf.recipe(NAME, "2.0.0", {"startup": {"Script": "exit 3"}}, artifact=content)}
        one.shelf.held = {f"/{NAME}/2.0.0/data"}
        one.offer("download", {NAME: "2.0.0"}, second)
        until(lambda: (f"/{NAME}/2.0.0/data", None) in one.shelf.asked, "the artefact is on its way")
        partial = until(lambda: list(one.own.root.glob("packages/artifacts/*/*/*/.data.part")), "a part")[0]
        until(lambda: partial.stat().st_size == len(content) // 2, "all that was sent is on disk")
        one.kill()
        gate.unlink()
        one.start()
        assert one.is_at(OTHER, "1.0.0", "RUNNING"), "what was in force is"
        one.shelf.held = set()
        one.offer("download", {NAME: "2.0.0"}, second)
        until(lambda: one.is_at(NAME, "2.0.0", "ERRORED"), "the new version fails")
        assert (f"/{NAME}/2.0.0/data", f"bytes={len(content) // 2}-") in one.shelf.asked, "it went on from there"
        until(lambda: one.is_at(NAME, "1.0.0", "STARTING"), "it is being rolled back")
        one.kill()
        one.start()
        gate.touch()
        detail, reason = one.result("download")
        assert detail == "FAILED_ROLLBACK_COMPLETE"
        assert "startup exited with code 3" in reason, "also by the agent that has not seen it"
        for name in (NAME, OTHER):
            until(lambda name=name: one.component(name).get("status") == "RUNNING", f"{name} as before")
        assert not list(one.own.root.glob("packages/**/.*.part"))

        told = len(one.controller.of("jobs/download/update"))
        one.end()
        one.start()
        again = until(
            lambda: one.controller.of("jobs/download/update")[told:], "the result, which nobody has confirmed"
        )
        assert again[0]["statusDetails"]["detailedStatus"] == "FAILED_ROLLBACK_COMPLETE"
        one.controller.client.publish(
            "hitless/things/n1/jobs/download/update/accepted", json.dumps({"clientToken": again[0]["clientToken"]}), 1
        )
        _three_jobs_at_once(one)
        one.end()
        told = len(one.controller.of("jobs/download/update"))
        one.start()
        until(lambda: one.component(NAME), "a health of the new agent")
        assert not one.controller.of("jobs/download/update")[told:], "the controller has confirmed it"


def _three_jobs_at_once(one: Node) -> None:
    recipes = {version: sleeper(one, version, artifact=version.encode() * 1000) for version in ("4.0.0", "5.0.0")}
    one.shelf.held = {f"/{NAME}/4.0.0/data"}
    one.offer("one", {NAME: "4.0.0"}, recipes["4.0.0"])
    until(lambda: (f"/{NAME}/4.0.0/data", None) in one.shelf.asked, "the first is downloaded")
    one.offer("two", {NAME: "4.0.0"}, recipes["4.0.0"])
    one.offer("three", {NAME: "5.0.0"}, recipes["5.0.0"])
    assert one.result("one") == ("REJECTED", "job two came before its merge and takes its place")
    assert one.result("two") == ("REJECTED", "job three came before its merge and takes its place")
    assert one.result("three") == ("SUCCESSFUL", "")
    one.shelf.held = {f"/{NAME}/4.0.0/data"}
    one.offer("cancelled", {NAME: "4.0.0"}, recipes["4.0.0"])
    until(lambda: len([path for path, _ in one.shelf.asked if path == f"/{NAME}/4.0.0/data"]) > 1, "it is downloaded")
    one.controller.client.publish("hitless/things/n1/jobs/notify-next", "{}", 1)
    assert one.result("cancelled") == ("REJECTED", "cancelled by the controller")
    assert one.is_at(NAME, "5.0.0", "RUNNING")


def test_a_dependent_starts_with_what_it_needs_and_again_with_it(tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "starts"
    needed = {
        "install": {"Script": f"until [ -e {gate} ]; do sleep 0.02; done"},
        "run": {"Script": f"echo other $$ >>{log}; exec sleep 1000"},
    }
    dependent = {"run": {"Script": f"echo plain >>{log}; exec sleep 1000"}}

    def starts() -> list[str]:
        # Sorted: a script counts as running before it has written its line.
        return sorted(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else []

    with node(tmp_path) as one:
        one.start()
        recipes = {
            NAME: one.shelf.recipe(NAME, "1.0.0", dependent, needs={OTHER: "^1.0.0"}),
            OTHER: one.shelf.recipe(OTHER, "1.0.0", needed),
        }
        one.offer("job", {NAME: "1.0.0", OTHER: "1.0.0"}, recipes)
        waits = f"waits for {OTHER}, which is "
        until(
            lambda: one.component(NAME).get("statusDetails", "").startswith(waits),
            "the dependent says what it waits for",
        )
        gate.touch()
        assert one.result("job") == ("SUCCESSFUL", "")
        until(lambda: starts() == ["other", "plain"], "both")
        os.kill(int(next(line for line in log.read_text().splitlines() if "other" in line).split()[1]), 9)
        until(lambda: starts() == ["other"] * 2 + ["plain"] * 2, "both again")
        one.kill()
        gate.unlink()
        one.start()
        until(lambda: one.component(NAME).get("statusDetails", "").startswith(waits), "it waits after a restart too")
        gate.touch()
        until(lambda: starts() == ["other"] * 3 + ["plain"] * 3, "both again")
