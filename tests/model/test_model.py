"""The program does what the contract says, on each target: a state machine looks for where it does not.

softswitch is looked at in this process, where it is fastest, and both targets as they are run: with interfaces
and P4Runtime. `MINUTES=600 make fuzz` looks for ten hours at each.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from softswitch.engine.engine import Engine

from hitless.words import CPU_PORT
from p4src.build import P4INFO, PIPELINE, ROOT
from tests.model.duel import Duel, Softswitch
from tests.model.machine import Machine
from tests.model.names import counter_names
from tests.model.wire import Bare, Wire
from tests.packet.clock import Clock
from topologies import targets

MINUTES = float(os.environ.get("MINUTES", "2"))
ANEW = "MINUTES" in os.environ
"""Whether to look elsewhere than last time: `make fuzz` does, `make test` gives a commit the same verdict each time."""
EXAMPLES_A_MINUTE = {"in process": 200, "softswitch": 3, "bmv2": 5}
"""Examples for each of `MINUTES`; they take less than that."""
STEPS = {"in process": 80, "softswitch": 250, "bmv2": 250}
"""Rules in an example: a process takes longer to begin anew."""
ROUND = 20
"""Examples until hypothesis begins anew: it keeps all that it has tried in memory, and what it tries is like that."""
FEW = 3
"""How often everything that can happen must, at least."""
NEVER = {"RESUBMITS"}
"""A packet goes round once for each of 64 members at most, and so often it may: a bound for what nobody thought of."""
NAMES = counter_names((ROOT / P4INFO).read_text())


def explore(make: Callable[[], Duel], how: str, *phases: Phase) -> type[Machine]:
    """Run the machine on targets that `make` makes; the class that ran."""

    class OnTarget(Machine):
        def make(self) -> Duel:
            return make()

    left = max(1, int(MINUTES * EXAMPLES_A_MINUTE[how]))
    while left > 0:
        # Without a seed hypothesis takes the same one for every round wherever it believes itself in CI.
        run_state_machine_as_test(
            seed(random.getrandbits(64) if ANEW else left)(OnTarget),
            settings=settings(
                max_examples=min(left, ROUND),
                stateful_step_count=STEPS[how],
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, *phases],
                print_blob=True,
                database=None,
            ),
        )
        left -= ROUND
    return OnTarget


@pytest.mark.timeout(int(MINUTES * 60 * 4) + 120)
def test_softswitch() -> None:
    pipeline = (ROOT / PIPELINE).read_text()
    with Engine(cpu_port=CPU_PORT) as engine:
        ran = explore(lambda: Duel(Softswitch(engine, pipeline), NAMES), "in process", Phase.shrink)
    everything = {*NAMES["drops"], *NAMES["events"]} - NEVER
    seldom = {name: ran.met[name] for name in everything if ran.met[name] < FEW}
    # In less than a minute chance decides what is met.
    assert MINUTES < 1 or not seldom, f"seldom met: {seldom}"


@pytest.mark.timeout(int(MINUTES * 60 * 4) + 120)
@pytest.mark.root("needs root for network namespaces and raw sockets")
@pytest.mark.parametrize("target", targets.NAMES)
def test_over_the_wire(target: str, tmp_path: Path) -> None:
    reason = targets.missing(target)
    if reason is not None:
        pytest.skip(reason)
    with Bare(target, Clock(target, tmp_path)) as bench:
        explore(lambda: Duel(Wire(bench), NAMES), target)
