"""The program does what the contract says, on each target: a state machine looks for where it does not.

`MINUTES=600 make fuzz` looks for ten hours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from p4src.build import P4INFO, PIPELINE, ROOT
from softswitch.engine import Engine
from tests.model.duel import Duel, Softswitch
from tests.model.machine import Machine
from tests.model.names import counter_names

MINUTES = float(os.environ.get("MINUTES", "1"))
EXAMPLES_A_MINUTE = 120
STEPS = 80


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A switch without ports."""
    with Engine(cpu_port=510) as made:
        yield made


@pytest.mark.timeout(int(MINUTES * 60 * 4) + 120)
def test_softswitch(engine: Engine) -> None:
    pipeline = (ROOT / PIPELINE).read_text()
    names = counter_names((ROOT / P4INFO).read_text())

    class OnSoftswitch(Machine):
        def make(self) -> Duel:
            return Duel(Softswitch(engine, pipeline), names)

    run_state_machine_as_test(
        OnSoftswitch,
        settings=settings(
            max_examples=max(1, int(MINUTES * EXAMPLES_A_MINUTE)),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=True,
            database=None,
        ),
    )
