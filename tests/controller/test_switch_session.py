"""A session against real targets: what it writes, what it leaves alone, what it hears."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import finsy as fy
import pytest

import controller.switches.session as session_module
from controller.fabric.file import Fabric, load
from controller.fabric.settings import settings
from controller.switches import reach
from controller.switches.diff import Changes, Kind, Update
from controller.switches.entries import Act, Overrides, Place, desired_entries
from controller.switches.p4runtime import Connection, Program, SwitchError
from controller.switches.reach import listens
from controller.switches.session import DIGEST_PATIENCE, SwitchSession
from controller.switches.view import SteeringEvent
from hitless.steering.outcome import Event
from hitless.steering.service import ServiceSteering
from hitless.steering.units import US_PER_MS
from hitless.wire.report import Report
from hitless.words import NO_MEMBER, MemberStatus, Reason
from tests.controller.frames import report_frame
from tests.controller.targets import NAMES, Target, missing, running
from tests.patience import PATIENCE, until_async

FABRIC = Path(__file__).with_name("fabric.yaml")
INJECT = 2

Body = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    reason = missing(request.param)
    if reason:
        pytest.skip(reason)
    with running(request.param, tmp_path) as started:
        yield started


def fabric_at(target: Target, *, dwell_ms: int = 0, stale_after_ms: int = 3_600_000) -> Fabric:
    """The example fabric on this target, with the clock taken out of its decisions."""
    fabric = load(FABRIC)
    switch = fabric.switches["s1"].model_copy(update={"p4runtime": target.address})
    services = {
        name: service.model_copy(
            update={
                "stale_after_ms": stale_after_ms,
                "policy": replace(service.policy, dwell=dwell_ms * US_PER_MS, evidence=0),
            }
        )
        for name, service in fabric.services.items()
    }
    return fabric.model_copy(update={"switches": {"s1": switch}, "services": services})


@asynccontextmanager
async def connected(fabric: Fabric) -> AsyncIterator[SwitchSession]:
    session = SwitchSession(fabric, "s1")
    task = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await session.ready()
        yield session
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(body: Body) -> None:
    async def limited() -> None:
        async with asyncio.timeout(4 * PATIENCE):
            await body()

    asyncio.run(limited())


async def inject(session: SwitchSession, node: str, report: Report) -> None:
    """Hand the switch a report as if it had come from the node's port."""
    frame = report_frame(session.fabric, node, report)
    connection = session._connected()
    port = session.fabric.hosts[node].port
    await connection.send(fy.P4PacketOut(frame, op=INJECT, port=port, service=0, member=0))


def report_of(fabric: Fabric, service: str, node: str, sequence: int, **fields: Any) -> Report:
    return Report(
        service_id=fabric.services[service].service_id,
        node_id=fabric.nodes[node].node_id,
        epoch=fields.pop("epoch", 7),
        sequence=sequence,
        ready=fields.pop("ready", True),
        **fields,
    )


async def heard(events: AsyncIterator[SteeringEvent]) -> SteeringEvent:
    async with asyncio.timeout(PATIENCE):
        return await anext(events)


async def entries_of(session: SwitchSession) -> dict[Place, Act]:
    return await session._connected().read_entries()


def test_provisioning_twice_changes_nothing(target: Target) -> None:
    fabric = fabric_at(target)
    client = fabric.hosts["client"].model_copy(update={"sources": "any"})
    fabric = fabric.model_copy(update={"hosts": {**fabric.hosts, "client": client}})

    async def body() -> None:
        async with connected(fabric) as session:
            assert session.state.pushes == 1
            assert await entries_of(session) == desired_entries(fabric, "s1")
            assert not await session.apply(Overrides())
        async with connected(fabric) as session:
            assert session.state.pushes == 0
            assert not await session.apply(Overrides())

    run(body)


def test_who_gives_a_probe_up_while_it_is_sent_does_not_end_the_session(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        async with connected(fabric) as session:
            service = next(iter(fabric.services))
            for steps in range(20):
                asking = asyncio.create_task(session.probe(service))
                for _ in range(steps):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            assert await session.probe(service)
            assert session.state.connects == 1

    run(body)


def test_a_restarted_controller_keeps_what_the_switch_has_learnt(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        async with connected(fabric) as session:
            events = session.events()
            await inject(session, "edge2", report_of(fabric, "detect", "edge2", 5, cpu=100))
            assert (await heard(events)).to_node == "edge2"
        for _ in range(4):  # until the machine is not busy just then
            async with connected(fabric) as session:
                events = session.events()
                began = asyncio.get_running_loop().time()
                await until_async(lambda of=session: of.state.hosts.get("detect") == "edge2", "the move is not seen")
                passed = asyncio.get_running_loop().time() - began
                state = (await session.probe("detect", "edge2"))[0]
                assert (state.status, state.rank, state.host) == (MemberStatus.READY, 65535 - 100, "edge2")
                assert (state.epoch, state.sequence) == (7, 5)
                caught_up = await heard(events)
                assert (caught_up.service, caught_up.reason, caught_up.to_node) == ("detect", None, "edge2")
                assert session.state.hosts["detect"] == "edge2"
                assert not session.state.migrations
            if passed < DIGEST_PATIENCE / 2:
                return
        raise AssertionError("what the switch has learnt is known late")

    run(body)


def test_the_first_probe_of_a_new_switch_tells_nothing_whose_digest_is_on_its_way() -> None:
    session = SwitchSession(load(FABRIC), "s1")
    session.state.pushes = 1
    events = session.events()
    session._compare("detect", "edge1")
    assert session.state.hosts["detect"] == "edge1"
    member = session.fabric.services["detect"].instances["edge1"].member
    session._heard(
        dict.fromkeys(("from_rank", "to_rank", "switch_time", "node_id", "epoch", "sequence"), 0)
        | {
            "service": session.fabric.services["detect"].service_id,
            "reason": Reason.FIRST,
            "from_member": NO_MEMBER,
            "to_member": member,
        }
    )
    session._compare("detect", "edge1")

    async def body() -> None:
        first = await heard(events)
        assert (first.reason, first.from_node, first.to_node) == (Reason.FIRST, None, "edge1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(events)

    run(body)


def test_a_digest_tells_who_moved_and_which_report_decided(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        async with connected(fabric) as session:
            events = session.events()
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 1))
            first = await heard(events)
            assert (first.reason, first.from_node, first.to_node) == (Reason.FIRST, None, "edge1")
            await inject(session, "edge2", report_of(fabric, "detect", "edge2", 1))
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 2, cpu=400, cpu_own=0))
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 3, cpu=900, cpu_own=499))
            moved = await heard(events)
            assert (moved.switch, moved.service, moved.reason) == ("s1", "detect", Reason.BETTER)
            assert (moved.from_node, moved.to_node) == ("edge1", "edge2")
            assert (moved.from_rank, moved.to_rank) == (65535 - 401, 65535)
            assert (moved.node, moved.epoch, moved.sequence) == ("edge1", 7, 3)
            assert session.state.hosts["detect"] == "edge2"
            assert session.state.migrations == {("detect", "BETTER"): 1}
            counters = await session.counters()
            assert counters.events["REPORT"] == 4
            assert counters.events["BETTER"] == 1

    run(body)


def test_a_pin_is_one_modify_and_letting_go_moves_nothing(target: Target) -> None:
    fabric = fabric_at(target, dwell_ms=60_000)

    async def body() -> None:
        async with connected(fabric) as session:
            events = session.events()
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 1))
            await inject(session, "edge2", report_of(fabric, "detect", "edge2", 1, cpu=900))
            assert (await heard(events)).to_node == "edge1"
            changes = await session.apply(Overrides({"detect": "edge2"}))
            (update,) = changes.updates
            assert (update.kind, update.place.table, update.act.name) == (Kind.MODIFY, "policies", "pinned")
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 2))
            pinned = await heard(events)
            assert (pinned.reason, pinned.from_node, pinned.to_node) == (Reason.PINNED, "edge1", "edge2")
            changes = await session.apply(Overrides())
            assert [update.act.name for update in changes.updates] == ["single"]
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 3))
            await inject(session, "edge2", report_of(fabric, "detect", "edge2", 2, cpu=900))
            states = await session.probe("detect")
            assert {state.host for state in states} == {"edge2"}
            assert [state.sequence for state in states] == [3, 2]

    run(body)


def test_a_refused_report_counts_by_reason(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        async with connected(fabric) as session:
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 4))
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 4))
            await inject(session, "client", report_of(fabric, "detect", "edge1", 5))
            await session.probe("detect")
            drops = (await session.counters()).drops
            assert (drops["REPORT_OLD"].packets, drops["REPORT_UNBOUND"].packets) == (1, 1)

    run(body)


def test_what_others_wrote_is_put_right(target: Target) -> None:
    fabric = fabric_at(target)
    wanted = desired_entries(fabric, "s1")
    stray = Place("routes", (("address", (0x0A630000, 16)),))
    lost = next(place for place in wanted if place.table == "arp")
    changed = next(place for place in wanted if place.table == "policies")
    act = Act("forward", (("port", 9), ("source", 1), ("destination", 2)))

    async def body() -> None:
        async with connected(fabric) as session:
            await session._connected().write(
                Changes(
                    (
                        (
                            Update(Kind.INSERT, stray, act),
                            Update(Kind.DELETE, lost, wanted[lost]),
                            Update(Kind.MODIFY, changed, Act("spread", (("load_penalty", 31),))),
                        ),
                    )
                )
            )
            changes = await session.reconcile()
            assert [(update.kind, update.place) for update in changes.updates] == [
                (Kind.INSERT, lost),
                (Kind.MODIFY, changed),
                (Kind.DELETE, stray),
            ]
            assert await entries_of(session) == wanted

    run(body)


def test_a_command_reads_nothing_unless_what_others_wrote_is_in_its_way(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = fabric_at(target)
    reads: list[int] = []
    read = Connection.read_entries

    async def counted(connection: Connection) -> dict[Place, Act]:
        entries = await read(connection)
        reads.append(len(entries))
        return entries

    async def body() -> None:
        async with connected(fabric) as session:
            reads.clear()
            for node in ("edge1", "edge2"):
                assert len((await session.apply(Overrides(pins={"detect": node}))).updates) == 1
            assert reads == [], "two commands cost their entries"
            assert await read(session._connected()) == desired_entries(
                fabric, "s1", Overrides(pins={"detect": "edge2"})
            )
            pinned = next(place for place in desired_entries(fabric, "s1") if place.table == "policies")
            act = desired_entries(fabric, "s1")[pinned]
            await session._connected().write(Changes(((Update(Kind.DELETE, pinned, act),),)))
            pins = dict.fromkeys(fabric.services, "edge1")
            await session.apply(Overrides(pins=pins))
            assert len(reads) == 1
            assert await read(session._connected()) == desired_entries(fabric, "s1", Overrides(pins=pins))

    monkeypatch.setattr(Connection, "read_entries", counted)
    run(body)


def test_a_switch_that_went_away_is_provisioned_again(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        async with connected(fabric) as session:
            target.kill()
            await until_async(lambda: not session.state.connected, "the loss was not noticed")
            assert session.state.error is not None
            assert target.address in session.state.error
            with pytest.raises(SwitchError):
                await session.probe("detect")
            with pytest.raises(SwitchError):
                await session.apply(Overrides({"detect": "edge2"}))
            target.start()
            async with asyncio.timeout(PATIENCE):
                await session.ready()
            assert (session.state.connects, session.state.pushes) == (2, 2)
            # What was asked for while it was away is there now.
            assert await entries_of(session) == desired_entries(fabric, "s1", Overrides({"detect": "edge2"}))

    run(body)


class Counted(Connection):
    """A connection, of which somebody counts how many there were, and sees the last one that has its program."""

    opened = 0
    last: "Counted | None" = None

    async def become_primary(self) -> None:
        Counted.opened += 1
        Counted.last = None
        await super().become_primary()

    async def ask_for_digests(self, digest: str) -> None:
        await super().ask_for_digests(digest)
        Counted.last = self


def test_a_switch_that_is_back_is_asked_once_and_has_its_host_again(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = fabric_at(target)
    monkeypatch.setattr(session_module, "Connection", Counted)
    looks = 0

    async def counting(address: str) -> bool:
        nonlocal looks
        looks += 1
        return await listens(address)

    monkeypatch.setattr(reach, "listens", counting)

    async def reporting(order: list[str]) -> None:
        """Reports as they come, from the first moment in which the switch takes them; the first node is the faster."""
        for sequence in range(1, 10_000):
            for node in order if sequence > 5 else order[:1]:
                frame = report_frame(fabric, node, report_of(fabric, "detect", node, sequence))
                packet = fy.P4PacketOut(frame, op=INJECT, port=fabric.hosts[node].port, service=0, member=0)
                if Counted.last is not None:
                    await Counted.last.send(packet)
            await asyncio.sleep(0.005)

    async def body() -> None:
        async with connected(fabric) as session:
            events = session.events()
            await inject(session, "edge1", report_of(fabric, "detect", "edge1", 1))
            assert (await heard(events)).to_node == "edge1"
            target.kill()
            await until_async(lambda: not session.state.connected, "the loss was not noticed")
            Counted.last, opened, looked = None, Counted.opened, looks
            await until_async(lambda: looks > looked + 10, "nobody looks whether it is back")
            assert Counted.opened == opened, "no P4Runtime while nobody listens"
            reports = asyncio.create_task(reporting(["edge2", "edge1"]))
            await asyncio.to_thread(target.start)
            async with asyncio.timeout(PATIENCE):
                await session.ready()
            assert Counted.opened == opened + 1, "the first attempt after its port is open is the one that connects"
            members = session.state.members
            await until_async(
                lambda: (
                    {("detect", node) for node in ("edge1", "edge2")}
                    <= {
                        of for of, state in members.items() if state.status is MemberStatus.READY and state.sequence > 1
                    }
                ),
                "not both are heard",
            )
            reports.cancel()
            assert session.state.hosts["detect"] == "edge1"
            back = await heard(events)
            assert (back.reason, back.to_node) == (Reason.FIRST, "edge1")
            assert not session.state.migrations

    run(body)


def test_a_session_ends_when_a_lost_switch_hides_that_it_was_told_to() -> None:
    class Hiding(SwitchSession):
        async def _serve(self) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise SwitchError("the stream broke at that moment") from None

    async def body() -> None:
        task = asyncio.create_task(Hiding(load(FABRIC), "s1").run())
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        assert done
        assert task.cancelled()

    run(body)


def test_a_second_controller_waits_until_the_first_is_gone(target: Target) -> None:
    fabric = fabric_at(target)

    async def body() -> None:
        second = SwitchSession(fabric, "s1")
        async with connected(fabric) as first:
            task = asyncio.create_task(second.run())
            await until_async(lambda: second.state.error is not None, "the second says nothing")
            assert "another controller is in charge" in str(second.state.error)
            assert first.state.connected
            assert not await first.apply(Overrides())
        try:
            async with asyncio.timeout(PATIENCE):
                await second.ready()
            assert second.state.pushes == 0
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(body)


def test_another_program_is_replaced(target: Target, tmp_path: Path) -> None:
    fabric = fabric_at(target)
    compiled = Program.compiled()
    other = Program(compiled.p4info, tmp_path / "other.json")
    other.json.write_bytes(compiled.json.read_bytes() + b"\n")

    async def body() -> None:
        async with Connection("s1", target.address, 1, other.schema()) as connection:
            await connection.become_primary()
            await connection.push()
        async with connected(fabric) as session:
            assert session.state.pushes == 1
            assert await session._connected().cookie() == session.state.cookie == compiled.schema().p4cookie
            assert await entries_of(session) == desired_entries(fabric, "s1")

    run(body)


@pytest.mark.parametrize("seed", range(3))
def test_the_switch_decides_as_the_policy_module_does(target: Target, seed: int) -> None:
    """The same reports to both; time plays no part (no dwell, nothing goes stale)."""
    fabric = fabric_at(target)
    chance = random.Random(seed)
    members = {node: instance.member for node, instance in fabric.services["detect"].instances.items()}
    nodes = {member: node for node, member in members.items()}

    async def body() -> None:
        model = ServiceSteering(settings(fabric, "detect"))
        async with connected(fabric) as session:
            events = session.events()
            expected_events: list[Event] = []
            pin: str | None = None
            for sequence in range(1, 120):
                if chance.random() < 0.1:
                    pin = chance.choice([None, "edge1", "edge2"])
                    await session.apply(Overrides({"detect": pin} if pin else {}))
                    model.settings = settings(fabric, "detect", pin)
                node = chance.choice(["edge1", "edge2"])
                report = report_of(
                    fabric,
                    "detect",
                    node,
                    max(1, sequence - chance.choice([0, 0, 0, 2])),
                    ready=chance.random() < 0.9,
                    draining=chance.random() < 0.2,
                    cpu=chance.randrange(1001),
                    cpu_own=chance.randrange(200),
                    queue_depth=chance.randrange(9),
                )
                await inject(session, node, report)
                outcome = model.report(sequence, members[node], report)
                expected_events.extend(outcome.events)
                for state in await session.probe("detect"):
                    believed = model.probe(sequence, state.member)
                    assert (state.status, state.eligible, state.rank) == (
                        believed.status,
                        believed.eligible,
                        believed.rank,
                    )
                    assert (state.epoch, state.sequence) == (believed.epoch, believed.sequence)
                    assert state.host == (None if believed.host is None else nodes[believed.host])
                    assert state.best == (None if believed.best is None else nodes[believed.best])
            assert len(expected_events) > 10
            for expected in expected_events:
                event = await heard(events)
                assert event.reason == expected.reason
                assert event.from_node == (None if expected.from_member is None else nodes[expected.from_member])
                assert event.to_node == (None if expected.to_member is None else nodes[expected.to_member])
                assert (event.from_rank, event.to_rank) == (expected.from_rank, expected.to_rank)
                assert (event.epoch, event.sequence) == (expected.epoch, expected.sequence)

    run(body)
