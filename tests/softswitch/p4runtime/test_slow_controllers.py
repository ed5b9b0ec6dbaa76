"""Controllers that read too slowly: what they lose is counted and told, and others do not notice."""

from __future__ import annotations

import asyncio
import logging
import re
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from finsy.proto import p4r, rpc_code
from softswitch.p4runtime import server
from softswitch.p4runtime.session import Loss, Session

from tests.softswitch.p4runtime.client import TIMEOUT, Client, Names, Stream, uint128
from tests.softswitch.p4runtime.entities import digest_config, group, insert
from tests.softswitch.p4runtime.switches import RunningSwitch, message

SECOND = 10**9
ROOM = 2000
TO_CONTROLLER = b"\0\1"
"""In front of a message of kind 2: the packet-out header that puts it into the pipeline."""


class SlowStream:
    """The stream of a controller that reads when it is told to."""

    def __init__(self, client: Client, election_id: int) -> None:
        self._done = threading.Event()
        self._call = client.stub.StreamChannel(self._requests(election_id))
        assert next(self._call).arbitration.status.code == rpc_code.OK

    def _requests(self, election_id: int) -> Iterator[p4r.StreamMessageRequest]:
        update = p4r.MasterArbitrationUpdate(device_id=1, election_id=uint128(election_id))
        yield p4r.StreamMessageRequest(arbitration=update)
        self._done.wait(TIMEOUT)

    def read(self) -> p4r.StreamMessageResponse:
        return next(self._call)

    def read_all(self, sent: int) -> Counter[str]:
        """Read until all that was sent has come or is said to be lost: how often which was the case."""
        found: Counter[str] = Counter()
        while found["packet"] + found["digest"] + found["lost"] < sent:
            message = self.read()
            kind = str(message.WhichOneof("update"))
            found[kind] += 1
            if kind == "error":
                found["lost"] += lost(message.error)
        return found

    def close(self) -> None:
        self._done.set()
        self._call.cancel()


def lost(error: p4r.StreamError) -> int:
    """How many messages a stream error tells the loss of."""
    assert error.canonical_code == rpc_code.RESOURCE_EXHAUSTED
    assert error.WhichOneof("details") is None
    assert error.message.startswith("lost, as they were not read in time: ")
    return sum(int(count) for count in re.findall(r"\d+", error.message))


@pytest.fixture
def slow(client: Client, names: Names, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStream]:
    """The stream of the primary, which has pushed `everything`; `ROOM` messages wait for it."""
    monkeypatch.setattr(server, "Session", partial(Session, max_messages=ROOM))
    stream = SlowStream(client, 10)
    client.push(names.config())
    yield stream
    stream.close()


def test_lost_packet_ins_are_told_and_others_lose_none(
    slow: SlowStream, client: Client, switch: RunningSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = client.primary(role="watcher")
    rounds, each = 30, 1000
    for _ in range(rounds):
        for tag in range(each):
            switch.engine.packet_out(TO_CONTROLLER + message(2, tag=tag) + bytes(200))
        # in step with one that reads
        tags = [watcher.receive().packet.payload[1:3] for _ in range(each)]
        assert tags == [tag.to_bytes(2, "big") for tag in range(each)]
    assert "a controller reads too slowly: " in caplog.text
    assert caplog.text.count("a controller reads too slowly: ") < 20, "not for each of them"
    found = slow.read_all(rounds * each)
    assert found["packet"] >= ROOM
    assert found["lost"] > 0
    assert found["error"] < 20
    switch.engine.packet_out(TO_CONTROLLER + message(2, tag=7))
    assert slow.read().packet.payload == message(2, tag=7)
    watcher.close()


def test_lost_digests_are_told_and_may_come_again(
    slow: SlowStream, client: Client, names: Names, switch: RunningSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = digest_config(names, ack_ns=1000 * SECOND)
    client.write(insert(watched))
    sent = 0
    caplog.set_level(logging.WARNING)
    while "a controller reads too slowly: " not in caplog.text:
        switch.engine.process(1, message(1, tag=sent >> 16, value=sent & 0xFFFF))
        sent += 1
        if sent % 100 == 0:
            # the server has taken those before
            client.read(p4r.Entity(digest_entry=p4r.DigestEntry()))
    found = slow.read_all(sent)
    assert found["digest"] >= ROOM
    assert found["lost"] == sent - found["digest"] > 0
    last = sent - 1
    switch.engine.process(1, message(1, tag=last >> 16, value=last & 0xFFFF))
    assert slow.read().WhichOneof("update") == "digest", "a list that was lost is not taken for one that was heard"


def test_events_that_find_no_room_on_their_way_are_told(
    client: Client, switch: RunningSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    """One packet is copied to the controller 200 times: 12 MB, more than the data plane keeps."""
    stream: Stream = client.primary()
    client.push(Names.of("copies").config())
    client.write(insert(group(7, *((510, instance) for instance in range(200)))))
    switch.engine.packet_out(struct.pack(">BBH", 3, 0, 7) + bytes(60000))
    received = missing = 0
    while received + missing < 200:
        answer = stream.receive()
        if answer.WhichOneof("update") == "error":
            missing += lost(answer.error)
        else:
            received += 1
    assert received > 0 and missing > 0
    assert f"{missing} packet-ins were lost: too many at once" in caplog.text
    stream.close()


def packet_in(size: int) -> bytes:
    return p4r.StreamMessageResponse(packet=p4r.PacketIn(payload=bytes(size))).SerializeToString()


def run(coroutine: Any) -> Any:
    """Wait for it; it must not have to wait for something itself."""
    return asyncio.run(asyncio.wait_for(coroutine, TIMEOUT))


def taken(session: Session, count: int) -> list[Any]:
    """The next messages to send, as what they are."""
    messages = [p4r.StreamMessageResponse.FromString(run(session.take()) or b"") for _ in range(count)]
    return [m.error.message or m.WhichOneof("update") for m in messages]


def test_losses_are_told_in_their_place() -> None:
    session = Session(max_messages=4)
    assert [session.offer(packet_in(1), Loss.PACKET_IN) for _ in range(6)] == [True] * 4 + [False] * 2
    assert taken(session, 2) == ["packet"] * 2
    assert not session.offer(packet_in(1), Loss.DIGEST_LIST), "before half of the room is free"
    assert taken(session, 1) == ["packet"]
    assert session.offer(packet_in(1), Loss.PACKET_IN)
    assert taken(session, 3) == [
        "packet",
        "lost, as they were not read in time: 2 packet-ins, 1 digest lists",
        "packet",
    ]


def test_bytes_are_bounded_too() -> None:
    session = Session(max_bytes=10_000)
    assert session.offer(packet_in(20_000), Loss.PACKET_IN), "a large one alone"
    assert not session.offer(packet_in(1), Loss.PACKET_IN)
    assert (taken(session, 2))[0] == "packet"
    assert [session.offer(packet_in(4000), Loss.PACKET_IN) for _ in range(3)] == [True, True, False]


def test_a_controller_that_reads_no_answer_is_given_up() -> None:
    session = Session(max_messages=4)
    for _ in range(8):
        session.send(p4r.StreamMessageResponse(arbitration=p4r.MasterArbitrationUpdate()))
    assert not session.over.is_set()
    session.send(p4r.StreamMessageResponse(arbitration=p4r.MasterArbitrationUpdate()))
    assert session.over.is_set() and run(session.take()) is None
    assert session.reason is not None
