"""The client libraries against real nodes on loopback: fragments, deadlines, endpoint changes, stray answers."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from hitless.client.asynchronous import Client
from hitless.client.blocking import BlockingClient
from hitless.client.endpoints import Endpoints
from hitless.mqtt.messages import EndpointUpdate
from hitless.wire.calls import CallFailed, DeadlineExceeded, Endpoint, UnknownEndpoint
from hitless.wire.invocation import Header, Message
from hitless.wire.pacing import Pacer
from hitless.words import InvocationType
from tests.hitless.peer import Peer
from tests.patience import PATIENCE, until_async
from tests.ports import free_port

FRAME = bytes(range(256)) * 60


def endpoints_of(peer: Peer) -> Endpoints:
    return Endpoints({"svc": 1}, {"svc": peer.address})


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as running:
        yield running


@pytest.mark.parametrize("size", [0, 1, 1400, 1401, 15360, 300_000])
async def test_any_size_there_and_back(peer: Peer, size: int) -> None:
    payload = (FRAME * 20)[:size]
    async with Client(endpoints_of(peer), client_id=77) as client:
        before = time.monotonic_ns()
        response = await client.invoke("svc", payload, deadline=PATIENCE, parent_id=9)
        after = time.monotonic_ns()
    assert response.result() == payload and response.status == 200
    assert before <= response.sent_ns <= response.received_ns <= after
    (request,) = peer.executed
    assert (request.client_id, request.request_id, request.parent_id) == (77, response.request_id, 9)
    assert (request.service_id, request.deadline_ms) == (1, 1000 * PATIENCE)


async def test_many_at_a_time(peer: Peer) -> None:
    async with Client(endpoints_of(peer)) as client:
        calls = (client.invoke("svc", bytes([number]) * 5000, PATIENCE) for number in range(50))
        responses = await asyncio.gather(*calls)
        assert [response.payload for response in responses] == [bytes([number]) * 5000 for number in range(50)]
        assert len({response.request_id for response in responses}) == 50
        assert client.in_flight == 0


async def test_endpoint_change_between_requests_while_one_is_in_flight() -> None:
    """The request in flight finishes on the old node, the next one goes to the new node, nothing is sent twice."""
    release, running = threading.Event(), threading.Event()

    def slow(request: Message) -> Message:
        running.set()
        assert release.wait(PATIENCE)
        return request.answer(200, b"old")

    with Peer(slow) as old, Peer(lambda request: request.answer(200, b"new")) as new:
        endpoints = endpoints_of(old)
        async with Client(endpoints) as client:
            first = asyncio.create_task(client.invoke("svc", FRAME, PATIENCE))
            assert await asyncio.to_thread(running.wait, PATIENCE)
            address, port = new.address
            assert endpoints.update("svc", EndpointUpdate(term=1, version=1, address=address, port=port))
            second = await client.invoke("svc", FRAME, PATIENCE)
            assert second.result() == b"new" and not first.done()
            release.set()
            finished = await first
        assert finished.result() == b"old"
        assert finished.endpoint.socket_address == old.address
        assert second.endpoint.socket_address == new.address
        assert len(old.executed) == len(new.executed) == 1
        assert client.counts.stray == 0


async def test_an_answer_from_elsewhere_is_not_taken() -> None:
    with Peer(lambda _: None) as asked, Peer() as impostor:
        strays: list[tuple[Header, tuple[str, int]]] = []
        async with Client(endpoints_of(asked), on_stray=lambda *stray: strays.append(stray)) as client:
            call = asyncio.create_task(client.invoke("svc", b"?", PATIENCE))
            await until_async(lambda: asked.executed, "the request did not come")
            request = asked.executed[0]
            client_address = ("127.0.0.1", client._socket.getsockname()[1])
            impostor.send(request.answer(200, b"wrong"), client_address)
            await until_async(lambda: strays, "no stray answer was told")
            assert not call.done()
            asked.send(request.answer(200, b"right"), client_address)
            assert (await call).result() == b"right"
        assert [(header.request_id, source) for header, source in strays] == [(request.request_id, impostor.address)]


async def test_second_and_late_answers_are_told_once_each(peer: Peer) -> None:
    strays: list[Header] = []
    async with Client(endpoints_of(peer), on_stray=lambda header, _: strays.append(header)) as client:
        response = await client.invoke("svc", FRAME, PATIENCE)
        port = client._socket.getsockname()[1]
        peer.send(peer.executed[0].answer(200, FRAME), ("127.0.0.1", port))
        await until_async(lambda: strays, "no stray answer was told")
        assert (await client.invoke("svc", FRAME, PATIENCE)).result() == FRAME
        assert [header.request_id for header in strays] == [response.request_id]
        assert client.counts.stray == 1


async def test_error_answer() -> None:
    with Peer(lambda request: request.answer(503, b"full", error=True)) as peer:
        async with Client(endpoints_of(peer)) as client:
            response = await client.invoke("svc", b"", PATIENCE)
    assert response.failed and response.status == 503
    with pytest.raises(CallFailed, match="status 503: full"):
        response.result()


def test_deadline() -> None:
    endpoints = Endpoints({"svc": 1}, {"svc": ("127.0.0.1", free_port())})

    given_up: list[float] = []

    async def wait(client: Client, deadline: float) -> None:
        with pytest.raises(DeadlineExceeded, match=rf"within {deadline:g} s"):
            await client.invoke("svc", b"", deadline=deadline)
        given_up.append(deadline)

    async def waited() -> float:
        async with Client(endpoints) as client:
            before = time.monotonic()
            await asyncio.gather(wait(client, 0.4), wait(client, 0.2))
            passed = time.monotonic() - before
            assert client.in_flight == 0
            with pytest.raises(UnknownEndpoint):
                await client.invoke("other", b"")
            return passed

    assert asyncio.run(waited()) > 0.35
    assert given_up == [0.2, 0.4]


async def test_sent_once_when_a_fragment_is_lost() -> None:
    with Peer(drop=lambda number: number == 3) as peer:
        async with Client(endpoints_of(peer)) as client:
            with pytest.raises(DeadlineExceeded):
                await client.invoke("svc", FRAME, deadline=0.3)
            await until_async(lambda: peer.arrived >= 11, "not every datagram came")
        assert peer.executed == []
        assert peer.arrived == 11


async def test_asked_to_retry_it_is_still_executed_once() -> None:
    """The first sending loses a fragment; the second completes; later ones get the same answer."""

    def slow(request: Message) -> Message:
        time.sleep(0.3)
        return request.answer(200, b"done")

    with Peer(slow, drop=lambda number: number == 3) as peer:
        async with Client(endpoints_of(peer)) as client:
            response = await client.invoke("svc", FRAME, PATIENCE, retry_after=0.1)
    assert response.result() == b"done"
    assert len(peer.executed) == 1 and peer.executed[0].payload == FRAME


async def test_an_acknowledged_request_is_not_sent_again() -> None:
    """Not once the acknowledgement is there; a busy machine may let the client send again before."""

    def acknowledges(request: Message) -> Message | None:
        if request.payload == b"marker":
            return request.answer(200, b"")
        peer.send(request.ack(), ("127.0.0.1", port))
        return None

    with Peer(acknowledges) as peer:
        async with Client(endpoints_of(peer)) as client:
            port = client._socket.getsockname()[1]
            call = asyncio.create_task(client.invoke("svc", b"", PATIENCE, retry_after=0.1))
            await until_async(lambda: peer.executed, "the request did not come")
            # All comes in order: with the first answer the acknowledgement, by the second all that was sent before it.
            for _ in range(2):
                await client.invoke("svc", b"marker", PATIENCE)
            arrived = peer.arrived
            await asyncio.sleep(0.4)
            assert peer.arrived == arrived and not call.done()
            call.cancel()


async def test_fragments_are_paced(peer: Peer) -> None:
    async with Client(endpoints_of(peer), pacer=Pacer(burst=16, rate=400.0)) as client:
        before = time.monotonic()
        response = await client.invoke("svc", bytes(1400 * 56), PATIENCE)
        assert time.monotonic() - before >= (56 - 16) / 400 * 0.95
        assert response.payload == bytes(1400 * 56)
        before = time.monotonic()
        await asyncio.gather(*(client.invoke("svc", bytes(1400 * 14), PATIENCE) for _ in range(4)))
        assert time.monotonic() - before >= (56 - 16) / 400 * 0.9, "the pace holds over all requests together"


async def test_closing_cancels_what_waits() -> None:
    with Peer(lambda _: None) as peer:
        async with Client(endpoints_of(peer)) as client:
            call = asyncio.create_task(client.invoke("svc", b"", 2 * PATIENCE))
            await until_async(lambda: client.in_flight, "the call has not begun")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, PATIENCE)


def test_blocking_client(peer: Peer) -> None:
    endpoint = Endpoint(1, *peer.address)
    with BlockingClient(client_id=5) as client:
        first = client.invoke(endpoint, FRAME, PATIENCE, parent_id=3)
        second = client.invoke(endpoint, bytes(60_000), PATIENCE)
    assert first.result() == FRAME and second.result() == bytes(60_000)
    assert [(request.client_id, request.parent_id) for request in peer.executed] == [(5, 3), (5, 0)]
    assert first.request_id < second.request_id


def test_blocking_client_skips_old_and_foreign_answers() -> None:
    held: list[Message] = []

    def second_only(request: Message) -> Message | None:
        held.append(request)
        if len(held) == 1:
            return None
        peer.send(held[0].answer(200, b"late"), ("127.0.0.1", port))
        peer.send(Message(InvocationType.RESPONSE, 1, 99, request.request_id, b"not mine"), ("127.0.0.1", port))
        impostor.send(request.answer(200, b"elsewhere"), ("127.0.0.1", port))
        time.sleep(0.05)
        return request.answer(200, b"right")

    with Peer(second_only) as peer, Peer() as impostor, BlockingClient() as client:
        port = client._socket.getsockname()[1]
        endpoint = Endpoint(1, *peer.address)
        with pytest.raises(DeadlineExceeded):
            client.invoke(endpoint, b"one", 0.2)
        assert client.invoke(endpoint, b"two", PATIENCE).result() == b"right"


def test_blocking_client_reports_errors() -> None:
    with Peer(lambda request: request.answer(500, b"KeyError: x", error=True)) as peer, BlockingClient() as client:
        response = client.invoke(Endpoint(1, *peer.address), b"", PATIENCE)
    assert response.failed and response.payload == b"KeyError: x"
