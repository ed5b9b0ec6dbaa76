"""A compromised node: it signs what it likes, claims to be idle and to have done everything, and answers nothing.

Requests, reports and answers go through a real switch, and the controller that looks at it is the real one; only the
nodes are played. How long the controller looks is cut short, since nothing here is left to chance.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import finsy as fy
import pytest

from controller.fabric.file import load
from controller.fabric.schema import Fabric, Instance
from controller.observe.events import ClaimEvent, Event
from controller.steering import claims, in_network
from controller.steering.endpoints import EndpointTable
from controller.steering.in_network import InNetworkSteering
from controller.steering.interface import SteeringContext
from controller.switches import session
from controller.switches.session import SwitchSession
from hitless.steering.policies import Policy, Single, Spread
from hitless.wire.invocation import Message, fragments
from hitless.wire.report import Report
from hitless.words import InvocationType
from tests.controller.frames import report_frame, udp_frame
from tests.controller.targets import Target, missing, running
from tests.patience import PATIENCE

FABRIC = Path(__file__).parents[1] / "controller" / "fabric.yaml"
INJECT = 2
SHARED, OWN = "detect", "preprocess"
"""A service of both nodes, and one that the honest node has alone."""
HONEST, LIAR = "edge1", "edge2"
POLICIES: dict[str, Policy] = {"spread": Spread(), "single": Single(dwell=0, evidence=0)}


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A running switch."""
    reason = missing(request.param)
    if reason:
        pytest.skip(reason)
    with running(request.param, tmp_path) as started:
        yield started


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times as often, and for a sixth of the time."""
    monkeypatch.setattr(session, "POLL_INTERVAL", 0.1)
    monkeypatch.setattr(in_network, "WATCH_S", 0.05)
    monkeypatch.setattr(claims, "CONTRADICTED_S", 0.5)


def fabric_at(target: Target, policy: Policy) -> Fabric:
    """The example, with `SHARED` under a policy and `OWN` on the honest node alone."""
    fabric = load(FABRIC)
    still = {"stale_after_ms": 3_600_000, "dead_after_ms": 3_600_000}
    services = {
        SHARED: fabric.services[SHARED].model_copy(update={"policy": policy, **still}),
        OWN: fabric.services[OWN].model_copy(update={"instances": {HONEST: Instance(member=0)}, **still}),
    }
    switches = {"s1": fabric.switches["s1"].model_copy(update={"p4runtime": target.address})}
    return fabric.model_copy(update={"switches": switches, "services": services})


class Played:
    """Nodes and clients around a switch, which the controller under test steers."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.events: list[Event] = []
        self.steering = InNetworkSteering(
            SteeringContext(
                fabric=fabric,
                pins={},
                keys={},
                excluded=frozenset(),
                room=dict.fromkeys(fabric.services, 258),
                endpoints=EndpointTable(term=1),
                publish=lambda service, update: None,
                broker_error=lambda: None,
                record=self.events.append,
                moved=lambda: None,
            )
        )
        self.session: SwitchSession = self.steering._sessions["s1"]
        self._numbers = iter(range(1, 1_000_000))
        self._answered = {SHARED: 0, OWN: 0}

    async def inject(self, host: str, frame: bytes) -> None:
        """A frame comes from a host."""
        port = self.fabric.hosts[host].port
        await self.session._connected().send(fy.P4PacketOut(frame, op=INJECT, port=port, service=0, member=0))

    async def ask(self, service: str, times: int = 10) -> None:
        """The client sends requests."""
        spec, client = self.fabric.services[service], self.fabric.hosts["client"]
        for number in (next(self._numbers) for _ in range(times)):
            request = Message(InvocationType.REQUEST, spec.service_id, client_id=7, request_id=number, payload=b"x")
            (datagram,) = fragments(request)
            mac = self.fabric.gateway.mac
            await self.inject("client", udp_frame(client.address, client.mac, spec.address, mac, spec.port, datagram))

    async def report(self, node: str, service: str, **fields: int) -> None:
        """A node reports."""
        report = Report(
            service_id=self.fabric.services[service].service_id,
            node_id=self.fabric.nodes[node].node_id,
            epoch=1,
            sequence=next(self._numbers),
            ready=True,
            **fields,
        )
        await self.inject(node, report_frame(self.fabric, node, report))

    async def sent(self, service: str, node: str) -> int:
        """How many requests a node was sent."""
        (member,) = await self.session.probe(service, node)
        return member.sent

    async def unbound(self) -> int:
        """How many reports were dropped that nobody may send there."""
        drops = (await self.session.counters()).drops
        return drops["REPORT_UNBOUND"].packets if "REPORT_UNBOUND" in drops else 0

    async def serve(self) -> None:
        """The honest node answers what it was sent, and says how it is: not idle."""
        for service, spec in self.fabric.services.items():
            sent, host, client = (
                await self.sent(service, HONEST),
                self.fabric.hosts[HONEST],
                self.fabric.hosts["client"],
            )
            for _ in range(sent - self._answered[service]):
                answer = udp_frame(
                    spec.address, host.mac, client.address, self.fabric.gateway.mac, 40000, b"answer", spec.port
                )
                await self.inject(HONEST, answer)
            self._answered[service] = sent
            await self.report(HONEST, service, received=sent, cpu=500, service_interval=2000, backlog=50_000)

    async def lie(self) -> None:
        """The liar answers nothing and is idle, whatever it was sent. It tells as much of what it does not serve."""
        sent = await self.sent(SHARED, LIAR)
        await self.report(LIAR, SHARED, received=sent)
        await self.report(LIAR, OWN)

    async def share(self) -> float:
        """The share of the next requests that goes to the liar."""
        before = await self.sent(SHARED, LIAR)
        for _ in range(5):
            await self.ask(SHARED)
            await self.ask(OWN, 2)
            await self.serve()
            await self.lie()
        return (await self.sent(SHARED, LIAR) - before) / 50


@asynccontextmanager
async def played(target: Target, policy: Policy) -> AsyncIterator[Played]:
    """A fabric with an honest node and a liar."""
    around = Played(fabric_at(target, policy))
    task = asyncio.create_task(around.steering.run())
    try:
        async with asyncio.timeout(4 * PATIENCE):
            await around.session.ready()
            await around.serve()
            await around.lie()
            yield around
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(target: Target, policy: Policy, scenario: Callable[[Played], Awaitable[None]]) -> None:
    """Play a scenario."""

    async def body() -> None:
        async with played(target, policy) as around:
            await scenario(around)

    asyncio.run(body())


@pytest.mark.root("needs root for a network namespace")
@pytest.mark.parametrize(
    ("target", "policy"), [("bmv2", "spread"), ("softswitch", "spread"), ("softswitch", "single")], indirect=["target"]
)
def test_a_node_that_claims_to_be_idle_and_answers_nothing_is_left_within_seconds(target: Target, policy: str) -> None:
    async def scenario(around: Played) -> None:
        own, unbound = await around.sent(OWN, HONEST), await around.unbound()
        assert await around.share() >= 0.9, "a liar is not tempting enough to show anything"
        assert await around.sent(OWN, HONEST) - own == 10, "it draws nothing of a service that it does not serve"
        assert await around.unbound() - unbound == 5, "every lie about that is counted"

        while not (found := [event for event in around.events if isinstance(event, ClaimEvent)]):
            await around.share()
        event = found[0]
        assert (event.service, event.node, event.finding) == (SHARED, LIAR, "contradicted")
        assert event.answered == 0
        assert event.received >= event.missing >= 20
        assert event.bounded_s == 10
        assert (SHARED, LIAR) in around.steering.doubts

        await around.share()  # its next report makes it a last resort, whatever that says
        assert await around.share() == 0.0
        others = [event for event in around.events if isinstance(event, ClaimEvent) and event.node == HONEST]
        assert not others, "the honest node is accused"

    run(target, POLICIES[policy], scenario)
