"""The units for systemd are ones, start programs that take these options, and give no more rights than they must."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from softswitch.commands import serve

from controller.operator.cli import main as hitless
from greengrass_agent.command import main as agent
from tests.docs.commands import commands

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "packaging").glob("*.service"))
EXPOSURE = {"hitless-controller": 1.5, "hitless-softswitch@": 2.5, "hitless-agent": 6.5}
"""At most, of 10, as `systemd-analyze security` counts it: an agent sets up users, mounts and routes for others."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def started(unit: Path) -> list[str]:
    """The words of the command that a unit runs, the shell's taken apart."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.M)
    words = shlex.split(line)
    return shlex.split(words[-1].rpartition("exec ")[2]) if words[0] == "/bin/sh" else words


def test_each_part_has_a_unit_that_is_told_of() -> None:
    assert {unit.stem for unit in UNITS} == set(EXPOSURE)
    page = (ROOT / "docs" / "operations.md").read_text()
    assert all(f"`{unit.name.replace('@.', '@NAME.')}`" in page for unit in UNITS)


def test_the_page_installs_what_is_there(tmp_path: Path) -> None:
    lines = [one.text for one in commands("docs/operations.md") if re.match("(git|cp|systemctl|journalctl) ", one.text)]
    (copy,) = [line for line in lines if line.startswith("cp ")]
    copy = copy.partition(" && ")[0].replace("/opt/hitless", str(ROOT)).replace("/etc/systemd/system", str(tmp_path))
    subprocess.run(["bash", "-c", copy], check=True)
    enabled = {re.sub("@.*", "@", line.split()[3]) for line in lines if line.startswith("systemctl enable")}
    assert {unit.stem for unit in tmp_path.glob("*.service")} == enabled == set(EXPOSURE)


def test_the_programs_take_the_options_that_they_are_started_with() -> None:
    controller, switch, node = (
        started(ROOT / "packaging" / f"{name}.service")
        for name in ("hitless-controller", "hitless-softswitch@", "hitless-agent")
    )
    assert controller[1] == "controller"
    assert hitless.commands["controller"].make_context("controller", controller[2:]).params["fabric"] is not None
    assert node[1:3] == ["-m", "greengrass_agent"]
    assert agent.make_context("agent", node[3:]).params["node"] == "$NODE"
    (example,) = re.findall(r"^# OPTIONS=(.*)$", (ROOT / "packaging" / "hitless-softswitch@.service").read_text(), re.M)
    assert switch[1:3] == ["-m", "softswitch"]
    assert switch[-1] == "$OPTIONS"
    parsed = serve.parse([*switch[3:-1], *example.split()])
    assert (parsed.device_id, parsed.cpu_port) == (1, 510)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_part_that_dies_is_started_again_for_ever(unit: Path) -> None:
    text = unit.read_text()
    assert re.search(r"^Restart=always$", text, re.M)
    assert re.search(r"^StartLimitIntervalSec=0$", text, re.M)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_it_and_finds_it_closed(unit: Path, tmp_path: Path) -> None:
    # The programs lie where this interpreter does, and not yet where they will be installed.
    here = tmp_path / unit.name.replace("@.", "@s1.")
    here.write_text(unit.read_text().replace("/opt/hitless/.venv/bin", str(Path(sys.executable).parent)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "hitless" in line]) == (0, [])
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE[unit.stem] * 10)}", str(here)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:]
