"""A part that dies is started again and told of, soon at first, later if it goes on dying."""

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.patience import until_async
from topologies.processes import Process, start, stop
from topologies.supervision import CALM_S, FIRST_WAIT_S, LAST_WAIT_S, Ended, Start, Supervision
from topologies.testbed import Testbed


def test_who_dies_is_started_again_after_its_wait() -> None:
    supervision = Supervision(0.0)
    assert supervision.look(100.0, []) == []
    assert supervision.look(100.0, ["broker"]) == [Ended("broker", FIRST_WAIT_S, 1)]
    assert supervision.look(100.0, ["broker"]) == [], "told once, and not started before its time"
    assert supervision.look(100.0 + FIRST_WAIT_S, ["broker"]) == [Start("broker")]
    assert supervision.look(101.0, ["s1"]) == [Ended("s1", FIRST_WAIT_S, 1)], "each part for itself"


def test_who_goes_on_dying_waits_longer_until_it_has_run_for_a_while() -> None:
    supervision, now, waits = Supervision(0.0), 100.0, []
    for times in range(1, 12):
        (ended,) = supervision.look(now, ["agent"])
        assert isinstance(ended, Ended)
        assert ended.times == times
        waits.append(ended.wait_s)
        now += ended.wait_s
        assert supervision.look(now, ["agent"]) == [Start("agent")]
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LAST_WAIT_S
    (ended,) = supervision.look(now + CALM_S, ["agent"])
    assert ended == Ended("agent", FIRST_WAIT_S, 12)


def test_a_test_bed_starts_its_own_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Testbed, "record", lambda self: None)
    switch = SimpleNamespace(process=start("switch s1", ["sleep", "60"], tmp_path / "s1.log"))
    agent = start("agent-edge1", ["sh", "-c", "echo here I am; exec sleep 60"], tmp_path / "agent.log", nice=1)
    bed = Testbed(**{name: cast(Any, None) for name in Testbed.__dataclass_fields__})
    bed.network, bed.processes, bed.logs = SimpleNamespace(switches=[switch]), [agent], tmp_path
    said: list[str] = []

    async def story() -> None:
        await until_async(lambda: agent.log.read_text() != "", "the agent says nothing")
        task = asyncio.create_task(bed.supervise(said.append))
        for name, get in (("agent-edge1", lambda: bed.processes[0]), ("switch s1", lambda: switch.process)):
            before: Process = get()
            os.kill(before.pid, signal.SIGKILL)
            await until_async(lambda get=get, before=before: get() is not before, f"{name} stays dead")
            assert get().handle.poll() is None
            assert get().handle.args == before.handle.args
        task.cancel()

    try:
        asyncio.run(story())
        first, second = said
        assert first.startswith("agent-edge1 was ended by SIGKILL; the end of ")
        assert "    here I am" in first
        assert first.endswith("agent-edge1 is started again in 0.1 s")
        assert second.startswith("switch s1 was ended by SIGKILL")
        bed.check()
    finally:
        stop(bed.parts())
