"""A switch on every target that is present, as new for each module.

In a module that is marked `frozen` its clock stands still, and tests say when time passes: what they find does not
depend on how fast the machine is. `test_real_time` is about the clock that goes on by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.packet.bench import Bench
from tests.packet.clock import Clock
from topologies import targets

START = 1000.0
"""What a clock that stands still shows first (s): it can be set back further than the switch has run."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each packet test on each target; one that is absent is skipped, and the reason printed."""
    if "bench" in metafunc.fixturenames:
        as_root = pytest.mark.root("needs root for network namespaces and raw sockets")
        params = [pytest.param(name, marks=as_root) for name in targets.NAMES]
        metafunc.parametrize("bench", params, indirect=True, scope="module")


@pytest.fixture(scope="session")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bool], Bench]]:
    """Starts a target, with a clock that stands still or without, when it is first asked for."""

    def start(name: str, frozen: bool) -> Bench:
        clock = Clock(name, tmp_path_factory.mktemp("clock")) if frozen else None
        bench = running.enter_context(Bench(name, clock))
        if clock is not None:
            clock.step(START)
            assert bench.probe(0, 0)["now"] == START * 1e6, "the switch does not keep the test's clock"
        return bench

    with ExitStack() as running:
        yield cache(start)


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, switches: Callable[[str, bool], Bench]) -> Bench:
    """A target with the steering program on it."""
    name = str(request.param)
    reason = targets.missing(name)
    if reason is not None:
        pytest.skip(reason)
    frozen = request.node.get_closest_marker("frozen") is not None
    if frozen and shutil.which("gcc") is None:
        pytest.skip("needs gcc to stop a switch's clock")
    running = switches(name, frozen)
    running.renew()
    return running
