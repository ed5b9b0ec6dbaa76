"""Fabrics that cannot be laid out on one machine are refused before anything is started, by file, line and reason."""

import subprocess
import sys
from pathlib import Path

import pytest
from softswitch.commands.serve import parse

from controller.fabric.file import FabricError
from experiments.migration.requirements import require
from topologies import emulation, layout

ROOT = Path(__file__).resolve().parents[2]
PAIR = ROOT / "topologies" / "pair.yaml"
TWO = ROOT / "topologies" / "two_switches.yaml"


def changed(folder: Path, source: Path, old: str, new: str) -> tuple[Path, int]:
    """A fabric file with one change, and the line where that is."""
    text = source.read_text()
    assert old in text
    path = folder / "fabric.yaml"
    path.write_text(text.replace(old, new))
    return path, text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize("path", [PAIR, TWO])
@pytest.mark.parametrize("bridged", [False, True])
def test_our_own_can_be_laid_out(path: Path, bridged: bool) -> None:
    assert layout.load(path, bridged=bridged).hosts


@pytest.mark.parametrize(
    "source, old, new, told",
    [
        (PAIR, "broker: {host: 10.0.0.100", "broker: {host: 10.0.0.99", "broker.host: expected the address of one of"),
        (PAIR, "repository: {host: 10.0.0.100", "repository: {host: 10.0.0.1", "repository.host: expected 10.0.0.100"),
        (PAIR, '"192.168.255.1:9559"', '"unix:/run/s1.sock"', "switches.s1.p4runtime: expected an IPv4 address"),
        (PAIR, '"192.168.255.1:9559"', '"127.0.0.1:9559"', "127.0.0.1 cannot be an end of a management link"),
        (PAIR, '"192.168.255.1:9559"', '"192.168.255.4:9559"', "192.168.255.4 cannot be an end"),
        (PAIR, '"192.168.255.1:9559"', '"10.0.0.6:9559"', "a subnet of its own: host client is in 10.0.0.0/24"),
        (TWO, '"192.168.255.5:9559"', '"192.168.255.2:9559"', "of its own: s1 is in 192.168.255.0/30 too"),
        (
            PAIR,
            "client: {switch",
            "a-long-client: {switch",
            "a-long-client: expected a name that is shorter by 3",
        ),
        (TWO, "visitor: {switch", "s1: {switch", "hosts.s1: a switch has this name too"),
        (
            PAIR,
            "client: {switch: s1, port: 1,",
            "client: {switch: s1, port: 255,",
            "hosts.client.port: expected a port",
        ),
        (TWO, "from: {switch: s1, port: 10,", "from: {switch: s1, port: 300,", "links.0.from.port: expected a port"),
        (PAIR, "address: 10.0.0.12,", "address: 10.0.1.12,", "hosts.edge2.address: expected an address of 10.0.0.0/24"),
    ],
)
def test_an_obstacle_is_told_with_its_line(tmp_path: Path, source: Path, old: str, new: str, told: str) -> None:
    path, line = changed(tmp_path, source, old, new)
    with pytest.raises(FabricError) as refused:
        layout.load(path, bridged=False)
    (message,) = str(refused.value).splitlines()
    assert message.startswith(f"{path}:{line}: ")
    assert told in message


def test_bridges_must_not_form_a_loop(tmp_path: Path) -> None:
    second = """\
  - from: {switch: s1, port: 11, mac: "02:00:00:00:0a:03"}
    to: {switch: s2, port: 11, mac: "02:00:00:00:0a:04"}

hosts:"""
    path, line = changed(tmp_path, TWO, "\nhosts:", second)
    assert layout.load(path, bridged=False).links
    with pytest.raises(FabricError, match=rf"fabric\.yaml:{line}: links\.1: closes a loop"):
        layout.load(path, bridged=True)


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("  client: {switch", "  camera: {switch", "hosts: expected one of the name client"),
        ("  thumbnail:", "  thumb:", "services: expected preprocess, detect, thumbnail, .*; there is no thumbnail"),
        ("protocol: tcp", "protocol: udp", "services.thumbnail.protocol: expected tcp"),
    ],
)
def test_a_run_refuses_a_fabric_that_its_load_cannot_use(tmp_path: Path, old: str, new: str, told: str) -> None:
    path, _ = changed(tmp_path, PAIR, old, new)
    with pytest.raises(FabricError, match=rf"fabric\.yaml:\d+: {told}"):
        require(path, bridged=False)


@pytest.mark.parametrize("command", [["topologies", "up"], ["experiments", "run"]])
@pytest.mark.root
def test_the_commands_say_it_and_start_nothing(tmp_path: Path, command: list[str]) -> None:
    path, line = changed(tmp_path, PAIR, "broker: {host: 10.0.0.100", "broker: {host: 10.0.0.99")
    done = subprocess.run(
        [sys.executable, "-m", *command, "--fabric", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{path}:{line}: broker.host: expected the address of one of the hosts" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_emulated_link_is_two_options_of_its_switches(tmp_path: Path) -> None:
    wan = "    mtu: 1500\n    emulate: {delay_ms: 10, jitter_ms: 0.5, loss_percent: 0.1, rate_mbps: 100}"
    path, line = changed(tmp_path, TWO, "    mtu: 1500", wan)
    text = path.read_text()
    path.write_text(text.replace('mac: "02:00:00:00:00:12"}', 'mac: "02:00:00:00:00:12", emulate: {delay_ms: 2}}'))
    fabric = layout.load(path, bridged=False)
    far = "10@delay=10.000000ms,jitter=0.500000ms,loss=0.100000%,rate=100.000000Mbit"
    access = "2@delay=2.000000ms"
    assert emulation.options(fabric, "s1") == ["--link", far]
    assert emulation.options(fabric, "s2") == ["--link", far, "--link", access, "--link-in", access]
    taken = parse([*emulation.options(fabric, "s2"), "--no-p4"])
    assert taken.link[0] == (
        10,
        {"delay_us": 10_000, "jitter_us": 500, "loss": pytest.approx(0.001), "rate_bps": 100_000_000},
    ), "as softswitch reads them"
    for how in ({"bridged": True}, {"bridged": False, "target": "bmv2"}):
        with pytest.raises(FabricError, match="only softswitch emulates links") as refused:
            layout.load(path, **how)  # type: ignore[arg-type]
        assert f":{line + 1}:" in str(refused.value)


@pytest.mark.parametrize(
    ("emulate", "told"),
    [
        ("{delay_ms: 1, jitter_ms: 2}", "expected a jitter_ms of at most delay_ms, 1"),
        ("{reorder_percent: 1}", "expected a delay_ms too"),
        ("{loss_percent: 101}", "loss_percent"),
        ("{delay: 1}", "delay"),
    ],
)
def test_a_link_that_cannot_be_is_told(tmp_path: Path, emulate: str, told: str) -> None:
    path, _ = changed(tmp_path, TWO, "    mtu: 1500", f"    emulate: {emulate}")
    with pytest.raises(FabricError, match=told):
        layout.load(path, bridged=False)
