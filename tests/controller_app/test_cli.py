"""The command where no controller is needed: checking files; and what its tables show."""

import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controller.operator import explanation, tables
from controller.operator.documents import ServiceStatus, Status
from tests.controller_app.support import ROOT, Running
from tests.patience import PATIENCE


def hitless(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controller", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_check_finds_nothing_wrong_with_what_is_right(fabric_path: Path, components_path: Path) -> None:
    done = hitless("check", str(fabric_path), "--components", str(components_path))
    assert done.returncode == 0, done.stderr
    assert "2 services on 2 nodes" in done.stdout
    assert "2 components" in done.stdout


def test_check_names_every_mistake_by_line_and_field(fabric_path: Path) -> None:
    text = fabric_path.read_text().replace("port: 9000", "port: 90000").replace("member: 1", "member: 64")
    fabric_path.write_text(text)
    done = hitless("check", str(fabric_path))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{fabric_path}:") for line in lines)
    assert "services.resize.port: expected" in lines[0]


def test_check_looks_at_the_components_too(fabric_path: Path, components_path: Path) -> None:
    recipe = components_path / "web" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("ComponentVersion: 1.0.0", "ComponentVersion: one"))
    done = hitless("check", str(fabric_path), "--components", str(components_path))
    assert done.returncode == 1
    assert f"{recipe}:3: ComponentVersion: expected a semantic version such as 1.0.0, got 'one'" in done.stderr


def test_a_controller_does_not_start_with_a_mistake(fabric_path: Path, components_path: Path, tmp_path: Path) -> None:
    fabric_path.write_text(fabric_path.read_text().replace("device_id: 1", "device: 1"))
    done = hitless(
        "controller",
        str(fabric_path),
        *("--components", str(components_path), "--socket", str(tmp_path / "c.sock"), "--state", str(tmp_path / "s")),
    )
    assert done.returncode == 1
    assert "switches.s1.device: unknown field" in done.stderr
    assert not (tmp_path / "c.sock").exists()


def test_the_table_shows_hosts_ranks_holds_and_what_is_not_connected() -> None:
    instance = {
        "member": 0,
        "age_us": 4200,
        "epoch": 3,
        "sequence": 17,
        "steered_packets": 9,
        "eligible": True,
        "draining": False,
    }
    status: dict[str, Any] = {
        "fabric": "small",
        "mode": "in-network",
        "last_event": 4,
        "warnings": ["the certificate of broker expires in 20 days (2027-03-01): renew it"],
        "broker": {"address": "10.0.0.100:1883", "connected": False, "error": "Connection refused"},
        "switches": {"s1": {"connected": True, "target": "10.0.0.1:9559", "cookie": "00ab", "error": None}},
        "nodes": {
            "edge1": {
                "online": True,
                "deployment": "under way",
                "step": "download 42 %",
                "components": {"Web": "NEW", "Cache": "RUNNING"},
                "details": {"Web": "waits for Disk, which is BROKEN", "Cache": "not ready"},
            }
        },
        "services": {
            "web": {
                "policy": "single",
                "host": "edge1",
                "held": True,
                "held_on": "edge1",
                "held_for_s": 1.5,
                "instances": {
                    "edge1": instance | {"status": "ready", "rank": 65435},
                    "edge2": instance | {"status": "draining", "rank": 1, "age_us": None},
                },
            }
        },
    }
    console = Console(width=120, record=True)
    console.print(tables.status(Status.model_validate(status)))
    lines = console.export_text().splitlines()
    assert "broker 10.0.0.100:1883 not connected: Connection refused" in lines[0]
    assert lines[1].startswith("warning: the certificate of broker expires in 20 days")
    assert "connected, pipeline 00ab" in lines[2]
    (first,) = (line for line in lines if line.startswith("web"))
    assert first.split()[-5:] == ["ready", "65435", "4.2", "3/17", "9"]
    assert first.split()[:6] == ["web", "held", "1.5", "s", "edge1", "host"]
    (second,) = (line for line in lines if "edge2" in line)
    assert second.split() == ["edge2", "draining", "1", "never", "3/17", "9"]
    (node,) = (line for line in lines if line.startswith("edge1"))
    assert "under way: download 42 %" in node
    assert node.strip().endswith("Web NEW (waits for Disk, which is BROKEN), Cache RUNNING (not ready)")


def explained(host: dict[str, Any], other: dict[str, Any], **evidence: float) -> list[str]:
    """Why new work goes where it goes, of a service with two instances and a margin of 600."""
    instance = {
        "member": 0,
        "status": "ready",
        "rank": 65535,
        "age_us": 4200,
        "epoch": 3,
        "sequence": 17,
        "steered_packets": 9,
        "eligible": True,
        "draining": False,
    }
    service = ServiceStatus.model_validate(
        {
            "policy": "single",
            "host": "edge1",
            "held": False,
            "held_on": None,
            "held_for_s": None,
            "instances": {"edge1": instance | host, "edge2": instance | other},
            "evidence": {"margin": 600, "reports": 0, "needed": 6, "lasted_us": 0, "start_within_us": 0} | evidence,
        }
    )
    console = Console(width=120, record=True)
    console.print(explanation.of("detect", service))
    return console.export_text().splitlines()


def test_explain_says_which_part_made_the_difference_and_since_when() -> None:
    lines = explained(
        {"rank": 64635, "load": {"cpu": 605, "queue": 320, "path_cost": 0}, "backlog_us": 41_000},
        {"rank": 65505, "load": {"cpu": 25, "queue": 0, "path_cost": 30}, "backlog_us": 0},
        reports=2.5,
        lasted_us=38_000,
    )
    (head,) = (line for line in lines if line.startswith("NODE"))
    assert head.split() == ["NODE", "STATUS", "RANK", "LOAD", "cpu", "queue", "path_cost", "BACKLOG", "ms", "AGE", "ms"]
    (row,) = (line for line in lines if line.startswith("edge1 "))
    assert row.split() == ["edge1", "host", "ready", "64635", "925", "605", "320", "0", "41.0", "4.2"]
    assert lines[-2] == "edge2 is better than edge1 by 870: edge1 has cpu +580, queue +320, path_cost -30."
    assert lines[-1] == "The margin is 600; evidence for another host: 2.5 of 6 reports, for 38 ms."


@pytest.mark.parametrize(
    ("host", "other", "told"),
    [
        ({"rank": 65135, "load": {"cpu": 400}}, {}, "nothing speaks for another host"),
        ({}, {"rank": 65035, "load": {"cpu": 500}}, "edge1 is better than edge2 by 500: edge2 has cpu +500."),
        ({}, {"rank": 0, "status": "not_ready"}, "edge2 is not eligible: not_ready."),
        (
            {"rank": 2, "backlog_us": 250_000},
            {"rank": 2},
            "edge1 would start new work too late: its backlog is 250.0 ms.",
        ),
        ({}, {}, "edge2 is as good as edge1."),
    ],
)
def test_explain_tells_what_else_decides(host: dict[str, Any], other: dict[str, Any], told: str) -> None:
    assert told in "\n".join(explained(host, other))


def test_it_tells_its_version() -> None:
    done = hitless("--version")
    assert (done.returncode, done.stdout) == (0, f"hitless, version {version('hitless')}\n")


def test_a_service_without_its_component_is_told_where_it_stands(fabric_path: Path, components_path: Path) -> None:
    shutil.rmtree(components_path / "web")
    done = hitless("check", str(fabric_path), "--components", str(components_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    wanted = (
        "services.web.component: service web: expected one of the components org.example.Resize, got org.example.Web"
    )
    assert line.startswith(f"{fabric_path}:") and line.endswith(wanted)
    assert "org.example.Web" in fabric_path.read_text().splitlines()[int(line.split(":")[1]) - 1]


def test_components_lie_in_any_number_of_folders_or_are_one(
    fabric_path: Path, components_path: Path, tmp_path: Path
) -> None:
    apart = shutil.move(components_path / "web", tmp_path / "apart")
    done = hitless("check", str(fabric_path), "--components", str(components_path), "--components", str(apart))
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_it_starts_shows_no_traceback() -> None:
    for module in ("controller", "greengrass_agent", "topologies", "experiments"):
        # -X importtime tells on standard error what has been imported so far.
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", module, "--help"], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        told = next(line for line in process.stderr if line.split("|")[-1].strip() == "click.core")
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in told + process.stderr.read()
        assert process.wait(PATIENCE) == -signal.SIGINT


def test_watch_prints_lines_where_there_is_no_terminal(running: Running) -> None:
    running.start()
    command = [sys.executable, "-m", "controller", "watch", "--interval", "0.05", "--socket", str(running.socket)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("fabric small, in-network, broker")
    running.client.drain("web", "edge1")
    assert next(line for line in process.stdout if " drain web edge1" in line)
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait(PATIENCE) == 0


def test_keys_that_are_not_rotated_end_it_with_1(running: Running) -> None:
    running.start()
    done = running.cli("rotate-keys")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("\n") == 1
