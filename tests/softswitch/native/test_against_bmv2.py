"""The same packets through BMv2 and through the engine leave the same bytes on the same ports.

The answers of BMv2 to one set of packets are recorded beside the programs, so that this holds where no BMv2 is;
where one is, it answers a second set live. `python -m tests.softswitch.native.test_against_bmv2` records anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from softswitch.engine.engine import Engine

from tests.softswitch.native import bmv2
from tests.softswitch.native.traffic import GENERATORS, Traffic, traffic

RECORDED = bmv2.PROGRAMS / "bmv2"
RECORDED_SEED, RECORDED_COUNT = 1, 150
LIVE_SEED, LIVE_COUNT = 20, 400


def through_engine(engine: Engine, program: str, load: Traffic) -> list[bmv2.Outputs]:
    """What each packet made leave, as (port, bytes), sorted."""
    engine.load((bmv2.PROGRAMS / f"{program}.json").read_text())
    for group, replicas in load.groups.items():
        engine.set_multicast_group(group, replicas)
    for session, replicas in load.sessions.items():
        engine.set_clone_session(session, replicas)
    return [sorted(engine.process(port, data)) for port, data in load.packets]


def recording(program: str) -> Path:
    """Where BMv2's answers lie."""
    return RECORDED / f"{program}.json"


@pytest.mark.parametrize("program", GENERATORS)
def test_recorded_answers(engine: Engine, program: str) -> None:
    answers = [[(port, bytes.fromhex(data)) for port, data in a] for a in json.loads(recording(program).read_text())]
    load = traffic(program, RECORDED_SEED, RECORDED_COUNT)
    assert len(answers) == len(load.packets)
    for packet, wanted, got in zip(load.packets, answers, through_engine(engine, program, load), strict=True):
        assert got == wanted, f"input {packet[1].hex()}"


@pytest.mark.skipif(bmv2.BINARY is None, reason="simple_switch_grpc is not installed")
@pytest.mark.parametrize("program", GENERATORS)
def test_live_answers(engine: Engine, program: str) -> None:
    load = traffic(program, LIVE_SEED, LIVE_COUNT)
    outputs = through_engine(engine, program, load)
    answers = bmv2.run(program, load.packets, load.groups, load.sessions, expected=outputs)
    for packet, wanted, got in zip(load.packets, answers, outputs, strict=True):
        assert got == wanted, f"input {packet[1].hex()}"


def record() -> None:
    """Asks BMv2 and writes its answers down."""
    RECORDED.mkdir(exist_ok=True)
    for program in GENERATORS:
        load = traffic(program, RECORDED_SEED, RECORDED_COUNT)
        answers = bmv2.run(program, load.packets, load.groups, load.sessions)
        lines = [json.dumps([(port, data.hex()) for port, data in a]) for a in answers]
        recording(program).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    record()
