"""The node's network in real namespaces: a node, and a router where the switch would stand."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.wire.report import decode
from tests.agent.support import ROOT, agent_command, agent_folder, child
from tests.agent.wire import ASK, GATEWAY, NODE_ADDRESS, SERVICE, Wire, inside, two_namespaces
from tests.patience import PATIENCE, until
from topologies.cgroups import Hierarchy

pytestmark = pytest.mark.root("namespaces need root")


@pytest.fixture
def wire() -> Iterator[Wire]:
    with two_namespaces() as own:
        yield own


def test_an_own_call_leaves_through_the_switch_and_comes_back(wire: Wire, tmp_path: Path) -> None:
    wire.network(tmp_path / "saved", "set_up", f"add:{SERVICE}")
    before = wire.forwarded()
    assert wire.on(wire.node, sys.executable, "-c", ASK).split() == ["pong", "ping", NODE_ADDRESS, SERVICE]
    assert wire.forwarded() - before == 1, "the call passes the switch, the answer goes straight back"


def test_without_the_set_up_the_call_would_not_leave(wire: Wire) -> None:
    wire.on(wire.node, "ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
    before = wire.forwarded()
    wire.on(wire.node, sys.executable, "-c", ASK)
    assert wire.forwarded() == before


def test_the_node_answers_arp_for_itself_only(wire: Wire, tmp_path: Path) -> None:
    def neighbour(address: str, wait_s: int) -> str:
        wire.on(wire.router, "ip", "route", "replace", f"{address}/32", "dev", "eth0")
        wire.on(wire.router, "ping", "-c1", f"-W{wait_s}", address, check=False)
        return wire.on(wire.router, "ip", "neighbour", "show", "to", address)

    wire.network(tmp_path / "saved", "set_up", f"add:{SERVICE}")
    assert "lladdr" not in neighbour(SERVICE, 1)
    assert "lladdr" in neighbour(NODE_ADDRESS, int(PATIENCE))


def test_everything_is_idempotent_and_undone(wire: Wire, tmp_path: Path) -> None:
    before = wire.picture()
    wire.network(tmp_path / "saved", "set_up", f"add:{SERVICE}", "set_up", f"add:{SERVICE}")
    once = wire.picture()
    assert once != before
    # As after an agent that was killed: another process sets up, and undoes what the first one found.
    wire.network(tmp_path / "saved", "set_up", f"add:{SERVICE}")
    assert wire.picture() == once
    wire.network(tmp_path / "saved", "undo", "undo")
    assert wire.picture() == before
    assert not (tmp_path / "saved").exists()


def test_a_broken_file_of_settings_is_set_aside_and_the_rest_undone(wire: Wire, tmp_path: Path) -> None:
    before = wire.picture()
    saved = tmp_path / "saved"
    wire.network(saved, "set_up", f"add:{SERVICE}")
    saved.write_text("{")
    wire.network(saved, "undo")
    assert wire.picture()[:2] == before[:2]
    assert (tmp_path / "saved.broken").read_text() == "{"
    wire.network(saved, "set_up")


def test_a_node_without_its_address_is_told(wire: Wire, tmp_path: Path) -> None:
    wire.on(wire.node, "ip", "address", "flush", "dev", "eth0")
    with pytest.raises(AssertionError, match=r"no interface has the node's address 10\.9\.0\.11"):
        wire.network(tmp_path / "saved", "set_up")


def test_the_agent_owns_its_service_address_and_reports_from_its_node_address(wire: Wire, tmp_path: Path) -> None:
    """A node whose deployment is on its disk serves and reports without broker or controller."""
    budget = f"test-network-{os.getpid()}"
    Hierarchy.detect().create(budget, 0.5)
    own = agent_folder(
        tmp_path,
        budget,
        {
            "node_address": NODE_ADDRESS,
            "broker": {"host": GATEWAY, "port": 1},
            "reports": {"address": "10.96.255.254", "port": 9600, "interval_ms": 10},
        },
    )
    name, digest = "org.example.Echo", "ab" * 32
    recipe = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": "1.0.0",
        "Manifests": [
            {
                "Lifecycle": {
                    "run": "exec python3 -m hitless.function --handler echo.lambda_handler --artifacts {artifacts:path}"
                }
            }
        ],
    }
    packages = own.root / "packages"
    code = packages / "artifacts" / name / "1.0.0" / digest[:16] / "echo.py"
    for folder in (packages / "recipes", code.parent):
        folder.mkdir(parents=True)
    (packages / "recipes" / f"{name}-1.0.0-{digest[:16]}.yaml").write_text(json.dumps(recipe))
    code.write_text("def lambda_handler(event, context): return 'hello'\n")
    endpoint = {"address": SERVICE, "port": 8080, "service_id": 3, "protocol": "tcp"}
    configuration = {"service": "echo", "endpoints": {"echo": endpoint}}
    (own.root / "deployment.json").write_text(
        json.dumps(
            {
                "format": 2,
                "deployment_id": "d",
                "components": {name: {"version": "1.0.0", "digest": digest, "configuration": configuration}},
                "results": {},
                "untold": [],
                "information": None,
                "under_way": None,
            }
        )
    )
    before = wire.picture()
    wire.on(wire.router, "ip", "address", "add", "10.96.255.254/32", "dev", "lo")
    listen = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('10.96.255.254', 9600))\n"
        "while True:\n d, a = s.recvfrom(100)\n print(a[0], d.hex(), flush=True)\n"
    )
    try:
        with (
            child([*inside(wire.router), sys.executable, "-c", listen], stdout=subprocess.PIPE) as heard,
            child([*inside(wire.node), *agent_command(own)], cwd=ROOT),
        ):
            assert heard.stdout is not None
            url = f"http://{SERVICE}:8080/"
            answer = until(
                lambda: wire.on(wire.router, "curl", "-s", "-i", "-m", "10", url, check=False), "an answer to curl"
            )
            assert "200 OK" in answer
            assert "X-Hitless-Node: n1" in answer
            assert "hello" in answer
            # The node calls its own service: once around through the router, by both addresses.
            assert wire.on(wire.node, "curl", "-s", "-m", str(PATIENCE), url) == "hello"
            assert wire.on(wire.router, "curl", "-s", "-m", str(PATIENCE), f"http://{NODE_ADDRESS}:8080/") == "hello"
            received = []
            while not received or received[-1].received < 3:
                source, payload = heard.stdout.readline().decode().split()
                assert source == NODE_ADDRESS
                received.append(decode(bytes.fromhex(payload)))
            assert [report.sequence for report in received] == list(range(1, len(received) + 1))
            assert (received[-1].service_id, received[-1].node_id, received[-1].ready) == (3, 1, True)
        assert wire.picture() == before
    finally:
        Hierarchy.detect().remove(budget)
        shutil.rmtree(own.root)
