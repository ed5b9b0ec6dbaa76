"""Two switches: a client behind one is served by a node behind the other, through the tunnel between them."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.support import each_target, fabric_up, hitless, needs_root, on_host
from tests.integration.test_http import during_wrk
from topologies.testbed import REPOSITORY_ROOT, Testbed

FABRIC = REPOSITORY_ROOT / "topologies" / "two_switches.yaml"
URL = "http://10.96.0.3/?width=64"


async def served_by(bed: Testbed, client: str, *options: str) -> str:
    head = await on_host(bed, client, "curl", "-sS", "-m", "10", "-o", "/dev/null", "-D", "-", *options, URL)
    nodes = [line.split(":")[1].strip() for line in head.lower().splitlines() if line.startswith("x-hitless-node:")]
    assert len(nodes) == 1, head
    return nodes[0]


@needs_root
@pytest.mark.parametrize("target", each_target())
def test_work_goes_through_the_tunnel_and_comes_back(target: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fabric_up(target, tmp_path, FABRIC) as bed:
            assert await served_by(bed, "client") == "edge1"
            hitless(bed, "migrate", "thumbnail", "edge2", "--hold")
            assert await served_by(bed, "client") == "edge2"
            assert await served_by(bed, "visitor") == "edge2", "s2 sends it to s1, which steers it"
            # Full segments do not fit into the tunnel: the client learns its path's MTU and sends smaller ones.
            body = tmp_path / "body"
            body.write_bytes(bytes(100_000))
            assert await served_by(bed, "client", "--data-binary", f"@{body}") == "edge2"
            for address in ("10.0.0.12", "10.0.0.253", "10.96.0.3"):
                ping = await on_host(bed, "client", "ping", "-c", "2", "-i", "0.5", address)
                assert " 0% packet loss" in ping, ping
            hitless(bed, "release", "thumbnail")
            await during_wrk(bed, lambda: hitless(bed, "drain", "thumbnail", "edge2"), "edge2", "edge1")

    asyncio.run(scenario())
