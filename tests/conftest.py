"""What every test gets: hypothesis does not judge the speed of a machine that it shares with others.

And how tests are shared out between the workers of `make test`. Most tests wait more than they work, so two workers
take little more than half the time of one. What tests use of the machine has names and ports of its own each, but for
the fabric, of which a machine has one.
"""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

FABRIC = ("tests/integration/", "tests/docs/test_commands.py", "tests/faults/test_chaos.py")
"""Where tests bring up the whole system."""

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests on the fabric take longest: whoever has them begins with them."""
    items.sort(key=lambda item: not item.nodeid.startswith(FABRIC))


class Shares(LoadScopeScheduling):  # type: ignore[misc]
    """A worker gets all tests on the fabric, or those of a file: what a module has set up is not set up twice."""

    def _split_scope(self, nodeid: str) -> str:
        return "fabric" if nodeid.startswith(FABRIC) else nodeid.partition("::")[0]


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Shares:
    return Shares(config, log)
