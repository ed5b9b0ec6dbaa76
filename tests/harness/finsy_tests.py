"""finsy: its own tests that take a P4Runtime server from outside, and its examples with the programs that they bring
compiled, in the Mininet networks of their own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.harness import junit
from tests.harness.outcomes import Outcome
from tests.harness.place import Place
from tests.harness.sources import NotHad

PATIENCE_S = 180.0
SWITCHES = Path("/usr/local/mininet/custom/p4switch.py")
"""Where finsy's container has its switch classes for Mininet, and its tests look for them."""

Result = tuple[list[Outcome], list[str]]


def own_tests(place: Place, clone: Path) -> Result:
    """Those that use the fixture of a server's address: all others bring a server of finsy's."""
    wanted = [
        f"tests/{path.name}::{name}"
        for path in sorted((clone / "tests").glob("test_*.py"))
        for name in re.findall(r"def (test_\w+)\([^)]*p4rt_server_target", path.read_text())
    ]
    ran: list[Outcome] = []
    missing: list[str] = []
    for test in wanted:
        # each takes it that nobody has been primary before
        with place.serving("--no-p4") as address:
            done, skipped = _pytest(place, clone, [test], {"FINSY_TEST_P4RUNTIME_TARGET": address})
        ran += done
        missing += skipped
    return ran, missing


def examples(place: Place, clone: Path) -> Result:
    """Each example's tests, one after the other: they use the same ports."""
    _provide_switch_classes(clone)
    ran: list[Outcome] = []
    missing: list[str] = []
    for path in sorted((clone / "examples" / "tests").glob("test_*.py")):
        text = path.read_text()
        if "gnmi" in path.name or "tls" in path.name or "copy_file" in path.name:
            missing.append(f"{path.name} (about gNMI, containers or finsy's own TLS, not about P4Runtime)")
            continue
        example = re.search(r'parents\[1\] / "(\w+)"', text)
        config = clone / "examples" / (example[1] if example else "") / "net" / "run.py"
        if config.is_file() and "stratum" in config.read_text():
            missing.append(f"{path.name} (its network is of Stratum's switches)")
            continue
        if "iperf" in text and shutil.which("telnet") is None:
            missing.append(f"{path.name} (Mininet's iperf needs telnet)")
            continue
        try:
            done, skipped = _pytest(place, clone / "examples", [f"tests/{path.name}"], {})
        except NotHad as error:
            done, skipped = [Outcome(path.name, False, str(error))], []
        ran += done
        missing += skipped
    return ran, missing


def _pytest(place: Place, cwd: Path, tests: list[str], variables: dict[str, str]) -> Result:
    report = place.folder / "finsy.xml"
    report.unlink(missing_ok=True)
    command: list[str | Path] = [
        place.python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *tests,
    ]
    said = place.run(command, cwd, PATIENCE_S, more=variables, alone=not variables)
    if not report.exists():
        raise NotHad(f"pytest made no report: {said[-300:]}")
    ran, skipped = junit.outcomes(report)
    if not ran and not skipped:
        raise NotHad(f"no test ran: {said[-300:]}")
    return ran, skipped


def _provide_switch_classes(clone: Path) -> None:
    """Put finsy's file where its container has it, for this mount namespace only."""
    if SWITCHES.exists():
        return
    script = """
set -e
local=$(mktemp -d)
mount --bind /usr/local "$local"
mount -t tmpfs none /usr/local
for each in "$local"/*; do ln -s "$each" /usr/local/; done
rm -f /usr/local/mininet
mkdir -p "$1"
cp "$2" "$1"
"""
    command = ["bash", "-c", script, "bash", str(SWITCHES.parent), str(clone / "ci" / "demonet" / "p4switch.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHad(f"cannot provide {SWITCHES}: {done.stderr.strip()[-200:]}")
