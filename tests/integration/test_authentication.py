"""Reports are only believed with their instance's key, which is replaced without a report being lost."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import each_target, fabric_up, hitless, needs_root, on_host
from tests.patience import until_async
from topologies.testbed import Testbed

FORGER = """
import socket, sys
from hitless.wire.report import Report
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.bind((sys.argv[1], 0))
for sequence in range(1, 101):
    forged = Report(service_id=3, node_id=1, epoch=1000, sequence=sequence, ready=True, key_id=int(sys.argv[2]), tag=1)
    out.sendto(forged.encode(), ("10.96.255.254", 9600))
"""


def keys(bed: Testbed) -> dict[tuple[str, str], Any]:
    """What the controller keeps on disk, by service and node."""
    path = bed.runtime / "controller" / "keys.json"
    assert path.stat().st_mode & 0o077 == 0
    return {(one["service"], one["node"]): one for one in json.loads(path.read_text())["keys"]}


async def forged(bed: Testbed) -> int:
    """Reports that the switch has dropped for their tag."""
    text = await on_host(bed, "ctrl", "curl", "-sS", "http://127.0.0.1:9464/metrics")
    found = re.search(r'drop\w*\{[^}]*reason="REPORT_FORGED"[^}]*\} ([\d.e+]+)', text)
    return round(float(found[1])) if found else 0


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_keys_are_replaced_without_a_gap_and_forgeries_are_dropped(target: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fabric_up(target, tmp_path) as bed:
            before, dropped = keys(bed), await forged(bed)
            assert len({one["current"]["secret"] for one in before.values()}) == 6, "a key for each binding"
            hitless(bed, "rotate-keys")
            await until_async(lambda: all(not one["next"] for one in keys(bed).values()), "the rotation does not end")
            after = keys(bed)
            assert all(after[binding]["current"] != before[binding]["current"] for binding in before)
            await asyncio.sleep(1.2)  # the controller reads counters once a second
            assert await forged(bed) == dropped

            def believed() -> bool:
                return bool(hitless(bed, "status")["services"]["thumbnail"]["instances"]["edge1"]["status"] == "ready")

            await until_async(believed, "the reports with the new key are not taken")
            key_id = str(after["thumbnail", "edge1"]["current"]["id"])
            await on_host(bed, "edge1", sys.executable, "-c", FORGER, "10.0.0.11", key_id)
            for line in (tmp_path / "controller.log", tmp_path / "agent-edge1.log"):
                assert after["thumbnail", "edge1"]["current"]["secret"] not in line.read_text()

            async def counted() -> bool:
                return await forged(bed) == dropped + 100

            await until_async(counted, "the forgeries are not counted")
            assert hitless(bed, "status")["services"]["thumbnail"]["instances"]["edge1"]["epoch"] < 1000

    asyncio.run(scenario())
