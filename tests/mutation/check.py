"""Does the state machine see that a program is not the contract's? `python -m tests.mutation.check`.

ARTEFACTS and GUARD in the environment say which program (`tests.packet.artefacts`).
"""

from __future__ import annotations

import sys

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from softswitch.engine.engine import Engine

from tests.model.duel import Duel, Softswitch
from tests.model.machine import Machine
from tests.model.names import counter_names
from tests.packet.artefacts import GUARD, MUTANT, P4INFO, PIPELINE

EXAMPLES = 24


def main() -> None:
    """Exit with 1 and tell the difference if there is one."""
    pipeline, names = PIPELINE.read_text(), counter_names(P4INFO.read_text())
    with Engine(cpu_port=510) as engine:

        class OnSoftswitch(Machine):
            def make(self) -> Duel:
                target = Softswitch(engine, pipeline)
                if GUARD:
                    engine.write_registers(MUTANT, 0, [GUARD])
                return Duel(target, names)

        try:
            run_state_machine_as_test(
                OnSoftswitch,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=120,
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate],
                    database=None,
                    report_multiple_bugs=False,
                ),
            )
        except (AssertionError, ExceptionGroup) as difference:
            print(str(_first(difference)).splitlines()[0][:200])
            sys.exit(1)


def _first(error: Exception) -> Exception:
    """Hypothesis groups failures where the same moves do not always lead to the same: the program draws lots."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
