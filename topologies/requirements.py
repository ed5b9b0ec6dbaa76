"""What a machine must allow before a fabric can be brought up on it."""

from __future__ import annotations

import os
import shutil
import subprocess

TOOLS = {
    "mnexec": "mininet",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "nsenter": "util-linux",
    "mosquitto": "mosquitto",
    "gcc": "gcc",
}


class Unmet(Exception):
    """The machine lacks something; the message says what and how to mend it."""


def check() -> None:
    """Raise Unmet at the first thing that is missing: root, a tool, network namespaces."""
    if os.geteuid() != 0:
        raise Unmet("network namespaces and CPU budgets need root: run it as root, or with sudo")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise Unmet(f"{tool} is missing: install the package {package} (`make setup` does)")
    probe = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "type", "veth"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        raise Unmet(
            f"this machine lets nobody make network namespaces with veth interfaces ({probe.stderr.strip()}): "
            "in a container, start it privileged; otherwise use a virtual machine (`vagrant up`)"
        )
