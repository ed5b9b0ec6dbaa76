"""One compiled runtime for the whole test run, in the user's cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from softswitch.engine.engine import Engine

CPU_PORT = 510


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A switch without ports; packets run through `process`."""
    with Engine(cpu_port=CPU_PORT) as made:
        yield made
