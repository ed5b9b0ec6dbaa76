"""Programs made at random: BMv2 and softswitch do the same with the same entries and packets, byte for byte.

`make test` tries a few that are always the same; `MINUTES=60 make fuzz` an hour's worth of others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from finsy.proto import p4i
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, given, settings

import softswitch
from tests.softswitch.native import bmv2
from tests.softswitch.native.generated import GROUPS, SESSIONS, Generated, programs
from tests.softswitch.native.writes import Writes, replication

COMPILER = shutil.which("p4c-bm2-ss")
MINUTES = float(os.environ.get("MINUTES", "0"))
FEW = 3
"""Programs in `make test`: a few seconds each."""
A_MINUTE = 40


def compiled(program: Generated, folder: Path) -> str:
    """The BMv2 JSON."""
    (folder / "made.p4").write_text(program.text)
    command = [str(COMPILER), "-o", "made.json", "--p4runtime-files", "made.p4info.txtpb", "made.p4"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{program.text}"
    return (folder / "made.json").read_text()


def through_switch(program: Generated, folder: Path) -> list[bmv2.Outputs]:
    """What each packet made leave, as (port, bytes), sorted."""
    info = folder / "made.p4info.txtpb"
    with softswitch.load(folder / "made.json", info, cpu_port=bmv2.CPU_PORT) as switch:
        switch.write(replication(GROUPS, SESSIONS))
        with contextlib.suppress(softswitch.WriteError):  # an entry that is there already
            switch.write(Writes(text_format.Parse(info.read_text(), p4i.P4Info())).entities(program.entries))
        return [sorted(switch.process(port, data)) for port, data in program.packets]


def compare(program: Generated) -> None:
    """Fails with the packet and the whole program."""
    with tempfile.TemporaryDirectory(prefix="generated-") as name:
        folder = Path(name)
        compiled(program, folder)
        got = through_switch(program, folder)
        wanted = bmv2.run("made", program.packets, GROUPS, SESSIONS, program.entries, folder, expected=got)
    for (_, data), w, g in zip(program.packets, wanted, got, strict=True):
        assert g == w, f"packet {data.hex()}: {shown(g)}, not {shown(w)}, by\n{program.text}\n{program.entries}"


def shown(outputs: bmv2.Outputs) -> str:
    """(port, bytes) to be read."""
    return str([(port, data.hex()) for port, data in outputs])


@pytest.mark.timeout(int(MINUTES * 60 * 4) + 120)
def test_programs_made_at_random() -> None:
    if COMPILER is None or bmv2.BINARY is None:
        pytest.skip(f"{'p4c-bm2-ss' if COMPILER is None else 'simple_switch_grpc'} is not installed")
    until = time.monotonic() + MINUTES * 60

    @settings(
        max_examples=max(FEW, int(MINUTES * A_MINUTE)),
        deadline=None,
        database=None,
        derandomize=not MINUTES,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if MINUTES else [])],
    )
    @given(programs())
    def each(program: Generated) -> None:
        if not MINUTES or time.monotonic() < until:
            compare(program)

    each()
