"""What every test gets: hypothesis does not judge the speed of a machine that it shares with others; and what is marked
`root`, since it changes the machine, is skipped without root.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A shell has what it starts in the background ignore Ctrl-C, and so would all that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Remove the network namespaces that tests have left which were killed: each has its process in its name."""
    if os.geteuid() == 0:
        for left in Path("/run/netns").glob("packet-*-*"):
            if not Path("/proc", left.name.split("-")[1]).exists():
                subprocess.run(["ip", "netns", "del", left.name], capture_output=True, check=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none."""
    if os.geteuid() == 0:
        return
    for item in items:
        if (marker := item.get_closest_marker("root")) is not None:
            item.add_marker(pytest.mark.skip(*marker.args or ("needs root",)))
