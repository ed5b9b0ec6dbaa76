"""What the integration tests share: a fabric up, the CLI, and clients on its hosts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from topologies import targets
from topologies.processes import in_namespace
from topologies.testbed import APPS, REPOSITORY_ROOT, Testbed, testbed

FABRIC = REPOSITORY_ROOT / "topologies" / "pair.yaml"

needs_root = pytest.mark.root("needs root for network namespaces")


def each_target() -> list[Any]:
    """A parameter for each P4 target, skipped with the reason where it is not present."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(missing is not None, reason=f"{name} is not here: {missing}"), id=name
        )
        for name in targets.NAMES
        for missing in [targets.missing(name)]
    ]


@asynccontextmanager
async def fabric_up(
    target: str | None, logs: Path, fabric: Path = FABRIC, components: Sequence[Path] = APPS
) -> AsyncIterator[Testbed]:
    """A fabric, ready, with everything on edge1."""
    async with testbed(fabric, logs, target=target, clients=["load"], evidence=True, components=components) as bed:
        await bed.ready(print)
        for service in bed.fabric.services:
            hitless(bed, "migrate", service, "edge1")
        yield bed


def hitless(bed: Testbed, *words: str) -> Any:
    """Run the CLI against the fabric; returns its JSON output. Fails the test if it does not end with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "controller", *words, "--json"],
        env={**os.environ, "HITLESS_SOCKET": str(bed.socket)},
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"hitless {' '.join(words)}: {done.stderr}"
    return json.loads(done.stdout)


async def on_host(bed: Testbed, host: str, *command: str, timeout_s: float = 60) -> str:
    """Run a command on a host to its end; returns its output."""
    process = await asyncio.create_subprocess_exec(
        *in_namespace(bed.namespace(host), command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    except BaseException:
        process.kill()
        raise
    return output.decode()


async def connections(bed: Testbed, node: str, port: int) -> int:
    """How many TCP connections to a port a node has."""
    output = await on_host(bed, node, "ss", "-Htn", "state", "established", f"sport = :{port}")
    return len(output.splitlines())
