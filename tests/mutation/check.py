"""Does the state machine see that a program is not the contract's? `python -m tests.mutation.check PIPELINE P4INFO`."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from softswitch.engine import Engine
from tests.model.duel import Duel, Softswitch
from tests.model.machine import Machine
from tests.model.names import counter_names

EXAMPLES = 24


def main() -> None:
    """Exit with 1 and tell the difference if there is one."""
    pipeline, names = Path(sys.argv[1]).read_text(), counter_names(Path(sys.argv[2]).read_text())
    with Engine(cpu_port=510, cache_dir=Path(sys.argv[1]).parent) as engine:

        class OnSoftswitch(Machine):
            def make(self) -> Duel:
                return Duel(Softswitch(engine, pipeline), names)

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
        except AssertionError as difference:
            print(str(difference).splitlines()[0][:200])
            sys.exit(1)


if __name__ == "__main__":
    main()
