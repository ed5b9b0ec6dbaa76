"""A switch on every target that is present, as new for each module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.packet.bench import Bench
from topologies import targets


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each packet test on each target; one that is absent is skipped, and the reason printed."""
    if "bench" in metafunc.fixturenames:
        metafunc.parametrize("bench", targets.NAMES, indirect=True, scope="module")


@pytest.fixture(scope="session")
def switches() -> Iterator[Callable[[str], Bench]]:
    """Starts a target when it is first asked for."""
    with ExitStack() as running:
        yield cache(lambda name: running.enter_context(Bench(name)))


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, switches: Callable[[str], Bench]) -> Bench:
    """A target with the steering program on it."""
    name = str(request.param)
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces and raw sockets")
    reason = targets.missing(name)
    if reason is not None:
        pytest.skip(reason)
    running = switches(name)
    running.renew()
    return running
