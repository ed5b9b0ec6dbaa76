"""A switch for each module, on every target that is present."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.packet.bench import Bench
from topologies import targets


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each packet test on each target; one that is absent is skipped, and the reason printed."""
    if "bench" in metafunc.fixturenames:
        metafunc.parametrize("bench", targets.NAMES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A target with the steering program on it."""
    name = str(request.param)
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces and raw sockets")
    reason = targets.missing(name)
    if reason is not None:
        pytest.skip(reason)
    with Bench(name) as running:
        yield running
