"""Fragmentation and reassembly: any order, duplicates, losses, interleaving, and what is refused."""

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.wire.invocation import (
    FRAGMENT_PAYLOAD,
    HEADER_SIZE,
    MAX_PAYLOAD,
    InvocationError,
    Message,
    Reassembler,
    decode_header,
    fragments,
)
from hitless.words import InvocationType

SOURCE = ("10.0.0.1", 4000)


def request(payload: bytes = b"", request_id: int = 7, **fields: int) -> Message:
    return Message(InvocationType.REQUEST, 1, 2, request_id, payload, **fields)


messages = st.builds(
    Message,
    st.sampled_from(InvocationType),
    service_id=st.integers(0, 0xFFFF),
    client_id=st.integers(0, 0xFFFFFFFF),
    request_id=st.integers(0, (1 << 64) - 1),
    payload=st.one_of(
        st.binary(max_size=100),
        st.integers(0, 12 * FRAGMENT_PAYLOAD).map(lambda size: random.Random(size).randbytes(size)),
        st.sampled_from([1399, 1400, 1401, 2800, 2801]).map(lambda size: random.Random(size).randbytes(size)),
    ),
    parent_id=st.integers(0, (1 << 64) - 1),
    deadline_ms=st.integers(0, 0xFFFFFFFF),
    status=st.integers(0, 0xFFFF),
    attempt=st.integers(0, 0xFF),
    once=st.booleans(),
)


@given(messages, st.sampled_from([100, 1000, FRAGMENT_PAYLOAD]), st.randoms(use_true_random=False))
def test_any_order_with_duplicates(message: Message, size: int, order: random.Random) -> None:
    datagrams = fragments(message, size)
    assert all(HEADER_SIZE <= len(datagram) <= HEADER_SIZE + size for datagram in datagrams)
    shuffled = [*datagrams, *(order.choice(datagrams) for _ in range(len(datagrams) // 2))]
    order.shuffle(shuffled)
    reassembler = Reassembler()
    completed = []
    for datagram in shuffled:
        whole = reassembler.receive(bytes(datagram), SOURCE, 0.0)
        if whole is not None:
            completed.append(whole)
            break
    assert completed == [message]
    assert len(reassembler) == 0


@given(messages.filter(lambda message: len(message.payload) > FRAGMENT_PAYLOAD), st.data())
def test_one_fragment_lost_is_no_message(message: Message, data: st.DataObject) -> None:
    datagrams = fragments(message)
    lost = data.draw(st.integers(0, len(datagrams) - 1))
    reassembler = Reassembler(timeout=2.0)
    for index, datagram in enumerate(datagrams):
        if index != lost:
            assert reassembler.receive(datagram, SOURCE, 10.0) is None
    assert reassembler.expire(11.9) == []
    assert [header.request_id for header in reassembler.expire(12.1)] == [message.request_id]
    assert len(reassembler) == 0 and reassembler.counts.timed_out == 1
    assert reassembler.receive(datagrams[lost], SOURCE, 12.2) is None, "a late fragment must not complete it"


@settings(max_examples=30)
@given(st.lists(messages, min_size=2, max_size=6, unique_by=lambda m: (m.client_id, m.request_id)), st.randoms())
def test_messages_interleave(several: list[Message], order: random.Random) -> None:
    datagrams = [datagram for message in several for datagram in fragments(message)]
    order.shuffle(datagrams)
    reassembler = Reassembler()
    completed = [whole for datagram in datagrams if (whole := reassembler.receive(datagram, SOURCE, 0.0))]
    assert sorted(completed, key=repr) == sorted(several, key=repr)


def test_two_sources_with_the_same_ids_do_not_mix() -> None:
    one, other = (fragments(request(letter * 2000)) for letter in (b"a", b"b"))
    reassembler = Reassembler()
    assert reassembler.receive(one[0], ("10.0.0.1", 1), 0.0) is None
    assert reassembler.receive(other[1], ("10.0.0.2", 1), 0.0) is None
    whole = reassembler.receive(one[1], ("10.0.0.1", 1), 0.0)
    assert whole is not None and whole.payload == b"a" * 2000


def test_duplicates_are_counted() -> None:
    reassembler = Reassembler()
    datagrams = fragments(request(bytes(3000)))
    for datagram in (*datagrams[:2], *datagrams[:2]):
        assert reassembler.receive(datagram, SOURCE, 0.0) is None
    assert reassembler.counts.duplicates == 2 and reassembler.counts.messages == 0


def test_fragments_of_two_attempts_complete_one_request() -> None:
    first, second = fragments(request(bytes(3000))), fragments(request(bytes(3000), attempt=1))
    reassembler = Reassembler()
    assert reassembler.receive(first[0], SOURCE, 0.0) is None
    assert reassembler.receive(second[1], SOURCE, 0.0) is None
    assert reassembler.receive(second[2], SOURCE, 0.0) is not None


def test_a_contradicting_fragment_changes_nothing() -> None:
    right, wrong = fragments(request(b"x" * 3000)), fragments(request(b"y" * 2990))
    reassembler = Reassembler()
    assert reassembler.receive(right[0], SOURCE, 0.0) is None
    with pytest.raises(InvocationError, match="request 7"):
        reassembler.receive(wrong[1], SOURCE, 0.0)
    assert reassembler.receive(right[1], SOURCE, 0.0) is None
    whole = reassembler.receive(right[2], SOURCE, 0.0)
    assert whole is not None and whole.payload == b"x" * 3000
    assert reassembler.counts.inconsistent == 1


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    reassembler = Reassembler(max_bytes=10_000)
    for number in range(1, 6):
        reassembler.receive(fragments(request(bytes(3000), number))[0], SOURCE, float(number))
        assert reassembler.size <= 10_000
    assert len(reassembler) == 3 and reassembler.counts.evicted == 2
    for datagram in fragments(request(bytes(3000), 5))[1:]:
        whole = reassembler.receive(datagram, SOURCE, 6.0)
    assert whole is not None and whole.request_id == 5
    for datagram in fragments(request(bytes(3000), 1))[1:]:
        assert reassembler.receive(datagram, SOURCE, 6.0) is None


def first_of_many(number: int, index: int = 0) -> bytes:
    """43 bytes that say that 65,534 more fragments are to come."""
    whole = Message(InvocationType.REQUEST, 1, number, number << 20, bytes(4))
    datagram = bytearray(fragments(whole, 1)[0])
    struct.pack_into("!HHI", datagram, HEADER_SIZE - 8, index, 0xFFFF, 0xFFFF)
    return bytes(datagram)


@pytest.mark.parametrize("forged", [False, True])
def test_memory_is_what_arrived_not_what_is_announced(forged: bool) -> None:
    """Thousands of first fragments of 65,535, from one address or each from its own."""
    flood = [first_of_many(number) for number in range(500)]
    tracemalloc.start()
    try:
        reassembler = Reassembler(max_bytes=1 << 20)
        for number in range(10_000):
            address = f"10.{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}" if forged else "10.0.0.66"
            assert reassembler.receive(flood[number % 500], (address, number), 0.0) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert reassembler.size <= 1 << 20


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 0xFFFE)), max_size=120), st.randoms())
def test_a_source_within_its_share_gets_its_messages_through_any_flood(
    flood: list[tuple[int, int, int]], order: random.Random
) -> None:
    """Three addresses flood a small reassembler; a fourth sends one message of ten fragments after another."""
    reassembler = Reassembler(max_bytes=100_000)
    datagrams = [(first_of_many(number, index), (f"10.0.0.{60 + at}", 9)) for at, number, index in flood * 5]
    wanted = [request(bytes(14_000), number) for number in range(5)]
    for message in wanted:
        pieces = fragments(message)
        order.shuffle(pieces)
        whole = None
        for piece in pieces:
            for datagram, source in order.sample(datagrams, len(datagrams) // 10):
                reassembler.receive(datagram, source, 0.0)
            whole = reassembler.receive(piece, SOURCE, 0.0)
        assert whole == message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d[: HEADER_SIZE - 1], "expected a header"),
        (lambda d: b"XX" + d[2:], "magic"),
        (lambda d: d[:2] + b"\x02" + d[3:], "version"),
        (lambda d: d[:3] + b"\x00" + d[4:], "type"),
        (lambda d: d[:3] + b"\x05" + d[4:], "type"),
        (lambda d: d[:34] + b"\x00\x03" + d[36:], "index is 3 of 3"),
        (lambda d: d[:36] + b"\x00\x00" + d[38:], "index"),
        (lambda d: d[:-1], "expected 1000"),
        (lambda d: d + b"z", "expected 1000"),
        (lambda d: d[:38] + b"\xff\xff\xff\xff" + d[42:], "total length"),
        (lambda d: d[:36] + b"\xff\xff" + d[38:], "last one would be empty"),
    ],
)
def test_malformed(change, complaint: str) -> None:  # type: ignore[no-untyped-def]
    reassembler = Reassembler()
    datagram = change(bytes(fragments(request(bytes(3000)))[0]))
    with pytest.raises(InvocationError, match=complaint):
        reassembler.receive(datagram, SOURCE, 0.0)
    assert reassembler.counts.malformed == 1 and len(reassembler) == 0


@given(st.binary(max_size=200))
def test_noise_never_becomes_a_message(noise: bytes) -> None:
    with pytest.raises(InvocationError):
        decode_header(noise)


def test_too_long() -> None:
    assert len(fragments(request(bytes(MAX_PAYLOAD)))) == -(-MAX_PAYLOAD // FRAGMENT_PAYLOAD)
    with pytest.raises(InvocationError, match="expected at most"):
        fragments(request(bytes(MAX_PAYLOAD + 1)))


def test_a_field_that_does_not_fit() -> None:
    with pytest.raises(InvocationError, match="request has a field"):
        fragments(request()._replace(status=1 << 16))


def test_answers_carry_the_requests_ids() -> None:
    asked = request(b"?", parent_id=5, attempt=1, deadline_ms=100)
    assert asked.answer(200, b"!") == Message(InvocationType.RESPONSE, 1, 2, 7, b"!", 5, 0, 200, 1)
    assert asked.answer(500, b"why", error=True).type is InvocationType.ERROR
    assert asked.ack() == Message(InvocationType.ACK, 1, 2, 7, b"", 5, 0, 0, 1)
