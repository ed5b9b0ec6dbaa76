"""finsy, the controller's client library, against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import finsy as fy
import pytest

from tests.softswitch.p4runtime.client import PROGRAMS
from tests.softswitch.p4runtime.switches import RunningSwitch, message

TIMEOUT = 120
Told = TypeVar("Told")


def run(switch: RunningSwitch, use: Callable[[fy.Switch], Awaitable[None]]) -> None:
    """Connect as finsy does, pushing `everything`, and `use` the connection."""
    options = fy.SwitchOptions(
        p4info=PROGRAMS / "everything.p4info.txtpb", p4blob=PROGRAMS / "everything.json", device_id=1
    )

    async def connected() -> None:
        async with asyncio.timeout(TIMEOUT), fy.Switch("s1", switch.address, options) as connection:
            assert connection.is_primary
            await use(connection)

    asyncio.run(connected())


async def read_all(connection: fy.Switch, *entities: Any) -> list[Any]:
    """What a read returns. finsy declares its asynchronous generator as a coroutine that returns one."""
    reader: Any = connection.read(list(entities))
    return [entity async for entity in reader]


def test_entities_written_are_read_back(switch: RunningSwitch) -> None:
    tables = [
        fy.P4TableEntry("exact_table", match=fy.Match(tag=5), action=fy.Action("forward", port=3)),
        fy.P4TableEntry("lpm_table", match=fy.Match(tag=(0xAB00, 8)), action=fy.Action("forward", port=4)),
        fy.P4TableEntry(
            "ternary_table",
            priority=5,
            match=fy.Match(kind=1, tag=(1, 0xFF), value=(1, 5), pad=9),
            action=fy.Action("drop"),
        ),
    ]

    async def use(connection: fy.Switch) -> None:
        await connection.write([+entry for entry in tables])
        await connection.write(
            [+fy.P4MulticastGroupEntry(7, replicas=[1, 2]), +fy.P4CloneSessionEntry(9, replicas=[3])]
        )
        found = await read_all(connection, fy.P4TableEntry())
        assert [(e.table_id, e.match, e.action, e.priority) for e in found if not e.is_const] == [
            (e.table_id, e.match, e.action, e.priority) for e in tables
        ]
        groups = await read_all(connection, fy.P4MulticastGroupEntry())
        assert [(group.multicast_group_id, group.replicas) for group in groups] == [(7, (1, 2))]
        sessions = await read_all(connection, fy.P4CloneSessionEntry())
        assert [(session.session_id, session.replicas) for session in sessions] == [(9, (3,))]
        await connection.delete_all()
        assert all(entry.is_const for entry in await read_all(connection, fy.P4TableEntry()))

    run(switch, use)


async def begun(told: AsyncIterator[Told]) -> asyncio.Future[Told]:
    """The first thing told from now on."""
    first = asyncio.ensure_future(anext(told))
    await asyncio.sleep(0)  # lets it begin to read
    return first


def test_packet_out_digest_and_packet_in(switch: RunningSwitch) -> None:
    async def use(connection: fy.Switch) -> None:
        config = fy.P4DigestEntry("seen_t", max_list_size=1, max_timeout_ns=0, ack_timeout_ns=10**12)
        await connection.write([+config])
        # finsy drops what comes before somebody reads: readers begin before what they wait for is caused.
        digests = await begun(connection.read_digests("seen_t"))
        await connection.write([fy.P4PacketOut(message(1, tag=7, value=8), egress_port=1, inject=1)])
        digest = await digests
        assert list(digest) == [{"tag": 7, "value": 8}]
        await connection.write([digest.ack()])
        packets = await begun(connection.read_packets())
        await connection.write([fy.P4PacketOut(message(2) + b"payload", egress_port=1, inject=1)])
        packet = await packets
        assert packet.payload == message(2) + b"payload"
        assert (packet["ingress_port"], packet["reason"]) == (510, 5)

    run(switch, use)


def _entry() -> fy.P4TableEntry:
    return +fy.P4TableEntry("exact_table", match=fy.Match(tag=5), action=fy.Action("forward", port=3))


def test_errors_name_the_entry(switch: RunningSwitch) -> None:
    async def use(connection: fy.Switch) -> None:
        await connection.write([_entry()])
        with pytest.raises(fy.P4ClientError) as caught:
            await connection.write([_entry()])
        (error,) = caught.value.details.values()
        assert error.canonical_code == fy.GRPCStatusCode.ALREADY_EXISTS
        assert "exact_table" in error.message

    run(switch, use)


def test_matching_pipeline_is_not_pushed_again(switch: RunningSwitch) -> None:
    async def write(connection: fy.Switch) -> None:
        await connection.write([_entry()])

    async def expect(connection: fy.Switch) -> None:
        assert len(await read_all(connection, fy.P4TableEntry("exact_table"))) == 1

    run(switch, write)
    run(switch, expect)
