"""Client and node of the invocation protocol: against each other on a bad network, and each one's rules."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.calls import (
    Acknowledged,
    Answered,
    Calls,
    DeadlinePassed,
    Endpoint,
    Event,
    Malformed,
    Stray,
)
from hitless.wire.invocation import Address, Message, Reassembler, fragments
from hitless.wire.serving import Requested, Serving
from hitless.words import InvocationType
from tests.hitless.simulation import ARRIVES, Fate, Plan, World, reply

LOST: Fate = ()
ENDPOINT = Endpoint(3, "10.0.0.11", 9000)
NODE: Address = ENDPOINT.socket_address
CLIENT: Address = ("10.0.0.2", 5000)

delays = st.sampled_from([0.0, 0.001, 0.02, 0.3, 3.0])
fates = st.lists(st.tuples(delays, st.booleans()), max_size=3).map(tuple) | st.just(ARRIVES)
plans = st.builds(
    Plan,
    start=st.sampled_from([0.0, 0.001, 0.1, 1.0]),
    client=st.integers(0, 1),
    node=st.integers(0, 1),
    size=st.sampled_from([0, 1, 1400, 1401, 30_000]),
    deadline=st.sampled_from([0.001, 0.05, 0.5, 4.0]),
    retry_after=st.none() | st.sampled_from([0.01, 0.2]),
    takes=st.sampled_from([0.0, 0.03, 1.0]),
    failed=st.booleans(),
)


@given(st.lists(plans, min_size=1, max_size=6), st.lists(fates, min_size=1, max_size=30))
def test_on_any_network_calls_end_in_time_with_their_own_answer_and_nothing_is_executed_twice(
    calls: list[Plan], course: list[Fate]
) -> None:
    world = World(itertools.cycle(course))
    world.run(calls)
    assert len(set(world.executed)) == len(world.executed), "at most once"
    assert len({execution[1:] for execution in world.executed}) == len(world.executed), "by one node only"
    assert len(world.outcomes) == len(calls), "every call ends"
    for (client, request_id), outcome in world.outcomes.items():
        plan, response = outcome.plan, outcome.response
        ends_at = plan.start + plan.deadline
        if response is None:
            assert outcome.at == pytest.approx(ends_at, abs=1e-6)
            continue
        assert outcome.at < ends_at
        request = Message(InvocationType.REQUEST, plan.node + 1, 101 + client, request_id, plan.payload)
        assert response.payload == reply(request)
        assert (response.status, response.failed) == (200, plan.failed)
        assert (plan.node, 101 + client, request_id) in world.executed
    assert [len(client) for client in world.clients] == [0, 0]
    assert world.largest <= len(calls)


@given(st.lists(plans, min_size=1, max_size=6))
def test_on_a_good_network_every_call_with_time_enough_is_answered(calls: list[Plan]) -> None:
    world = World(itertools.repeat(ARRIVES))
    world.run(calls)
    for outcome in world.outcomes.values():
        # 2 * 6 * 22 fragments take some 33 ms at the pacer's rate.
        if outcome.plan.takes + 0.1 < outcome.plan.deadline:
            assert outcome.response is not None, outcome.plan
    sent_again = any(plan.retry_after is not None for plan in calls)
    assert sent_again or world.acknowledged == 0
    assert len(world.executed) == len(calls) or any(plan.deadline < 0.05 for plan in calls)


@given(st.lists(st.sampled_from([LOST, ARRIVES]), max_size=30), st.sampled_from([1, 30_000]))
def test_a_request_that_is_sent_again_gets_through_once_the_network_lets_it(course: list[Fate], size: int) -> None:
    world = World(itertools.chain(course, itertools.repeat(ARRIVES)))
    world.run([Plan(0.0, 0, 0, size, 60.0, 0.2, 0.0, False)])
    ((outcome),) = world.outcomes.values()
    assert outcome.response is not None
    assert len(world.executed) == 1


def test_a_call_that_was_acknowledged_is_not_sent_again_while_it_is_executed() -> None:
    world = World(itertools.repeat(ARRIVES))
    world.run([Plan(0.0, 0, 0, 1, 4.0, 0.2, 3.0, False)])
    assert world.acknowledged == 1
    assert world.datagrams == 4, "request, request again, acknowledgement, answer"


def events_of(calls: Calls) -> list[Event]:
    return list(iter(calls.next_event, None))


def one_call(**options: float) -> tuple[Calls, Message]:
    """A client with one call under way, and what its node has to answer."""
    calls = Calls(7)
    calls.call(ENDPOINT, b"?", 1.0, 10.0, **options)
    ((datagram, destination),) = calls.datagrams_to_send(10.0)
    assert destination == NODE
    node = Serving(3)
    node.datagram_received(datagram, CLIENT, NODE, 10.0)
    requested = node.next_request()
    assert isinstance(requested, Requested)
    return calls, requested.request


def take(calls: Calls, message: Message, source: Address = NODE, now: float = 10.5) -> list[Event]:
    for datagram in fragments(message):
        calls.datagram_received(datagram, source, now)
    return events_of(calls)


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ({"request_id": 99}, NODE),
        ({"client_id": 8}, NODE),
        ({"service_id": 4}, NODE),
        ({"type": InvocationType.REQUEST}, NODE),
        ({}, ("10.0.0.12", 9000)),
        ({}, ("10.0.0.11", 9001)),
    ],
)
def test_what_is_not_the_answer_to_the_call_is_told_and_not_taken(changed: dict[str, int], source: Address) -> None:
    calls, request = one_call()
    wrong = request.answer(200, bytes(5000))._replace(**changed)
    (stray,) = take(calls, wrong, source)
    assert isinstance(stray, Stray)
    assert (stray.header.request_id, stray.source) == (wrong.request_id, source)
    (answered,) = take(calls, request.answer(200, b"right"))
    assert isinstance(answered, Answered)
    assert answered.response.payload == b"right"


def test_the_deadline_holds_to_the_moment() -> None:
    calls, request = one_call()
    assert calls.next_timer() == 11.0
    calls.handle_timer(10.999)
    assert events_of(calls) == []
    passed, stray = take(calls, request.answer(200, b"late"), now=11.0)
    assert isinstance(passed, DeadlinePassed)
    assert passed.request_id == request.request_id
    assert str(passed.error) == "no answer to request 1 from 10.0.0.11:9000 within 1 s"
    assert isinstance(stray, Stray)
    assert calls.next_timer() is None


def test_a_request_says_whether_it_may_be_sent_again() -> None:
    """So that a switch need not remember where one went that is not."""
    assert one_call()[1].once
    assert not one_call(retry_after=0.2)[1].once


def test_an_acknowledgement_is_told_once_and_stops_the_sending() -> None:
    calls, request = one_call(retry_after=0.2)
    calls.handle_timer(10.2)
    ((again, _),) = calls.datagrams_to_send(10.2)
    assert again[5] == 1, "the second attempt says so"
    assert take(calls, request.ack()) == [Acknowledged(request.request_id)]
    assert take(calls, request.ack()) == []
    calls.handle_timer(10.9)
    assert calls.datagrams_to_send(10.9) == []


def test_rubbish_is_told_and_changes_nothing() -> None:
    calls, request = one_call()
    calls.datagram_received(b"rubbish", NODE, 10.1)
    (malformed,) = events_of(calls)
    assert malformed == Malformed(NODE, "datagram of 7 bytes, expected a header of 42")
    (answered,) = take(calls, request.answer(200, b"right"))
    assert isinstance(answered, Answered)


def test_a_cancelled_call_sends_nothing_more_and_takes_no_answer() -> None:
    calls = Calls(7)
    request_id = calls.call(ENDPOINT, bytes(100_000), 1.0, 0.0)
    assert len(calls.datagrams_to_send(0.0)) == 16
    calls.cancel(request_id)
    calls.cancel(request_id)
    assert calls.datagrams_to_send(0.5) == []
    assert (len(calls), events_of(calls), calls.next_timer()) == (0, [], None)


def test_calls_that_have_ended_leave_nothing_behind() -> None:
    """Deadlines far ahead of a client that calls without end must not pile up."""
    calls = Calls(7)
    for number in range(10_000):
        request_id = calls.call(ENDPOINT, b"", 3600.0, number)
        calls.datagrams_to_send(number)
        answer = Message(InvocationType.RESPONSE, 3, 7, request_id, b"")
        assert len(take(calls, answer, now=number)) == 1
    assert len(calls._timers) < 200


def test_sending_again_without_a_pause_is_refused() -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        Calls(7).call(ENDPOINT, b"", 1.0, 0.0, retry_after=0.0)


def answers_of(node: Serving, now: float) -> list[tuple[Message, Address]]:
    """What the node sends, put together."""
    reassembler, answers = Reassembler(), []
    for datagram, (client, local) in node.datagrams_to_send(now):
        assert client == CLIENT
        message = reassembler.receive(datagram, local, now)
        if message is not None:
            answers.append((message, local))
    return answers


def ask(node: Serving, message: Message, local: Address, now: float) -> list[Requested]:
    for datagram in fragments(message):
        node.datagram_received(datagram, CLIENT, local, now)
    return list(iter(node.next_request, None))


def test_one_request_to_two_addresses_is_executed_once_and_answered_from_where_it_was_asked() -> None:
    node, other = Serving(3), ("10.96.0.3", 9000)
    request = Message(InvocationType.REQUEST, 3, 7, 1, bytes(3000), deadline_ms=250)
    (requested,) = ask(node, request, NODE, 1.0)
    assert (requested.request, requested.deadline) == (request, 1.25)
    assert ask(node, request, other, 1.1) == []
    ((ack, asked),) = answers_of(node, 1.1)
    assert (ack.type, asked) == (InvocationType.ACK, other)
    node.answer(requested, 200, b"done", 1.2)
    ((answer, asked),) = answers_of(node, 1.2)
    assert (answer.type, answer.payload, asked) == (InvocationType.RESPONSE, b"done", NODE)
    assert ask(node, request, other, 1.3) == []
    ((answer, asked),) = answers_of(node, 1.3)
    assert (answer.payload, asked) == (b"done", other)
    assert ask(node, request, other, 60.0) == []
    ((answer, _),) = answers_of(node, 60.0)
    assert (answer.type, answer.status) == (InvocationType.ERROR, 410), (
        "its answer is forgotten, that it was taken is not"
    )


def test_a_node_answers_what_it_does_not_serve_and_a_result_that_is_too_long_with_an_error() -> None:
    node = Serving(3)
    assert ask(node, Message(InvocationType.REQUEST, 4, 7, 1, b""), NODE, 0.0) == []
    ((answer, _),) = answers_of(node, 0.0)
    assert (answer.type, answer.status, answer.service_id) == (InvocationType.ERROR, 404, 4)
    (requested,) = ask(node, Message(InvocationType.REQUEST, 3, 7, 2, b""), NODE, 0.0)
    assert requested.deadline is None
    node.answer(requested, 200, bytes(5 * 1024 * 1024), 0.0)
    ((answer, _),) = answers_of(node, 0.0)
    assert (answer.type, answer.status) == (InvocationType.ERROR, 500)
    assert b"cannot be sent" in answer.payload


def test_each_address_of_a_node_paces_its_own_answers_and_closing_sends_the_rest() -> None:
    node, other = Serving(3), ("10.96.0.3", 9000)
    for number, local in enumerate((NODE, other)):
        (requested,) = ask(node, Message(InvocationType.REQUEST, 3, 7, number, b""), local, 0.0)
        node.answer(requested, 200, bytes(1400 * 40), 0.0)
    sent = node.datagrams_to_send(0.0)
    assert [local for _, (_, local) in sent] == [NODE] * 16 + [other] * 16
    assert node.next_timer() == pytest.approx(1 / 8000, rel=1e-4)
    assert len(node.last_datagrams()) == 2 * 24
    assert node.next_timer() is None


def test_fragments_that_are_no_request_take_no_room_at_a_node() -> None:
    node = Serving(3)
    for kind in (InvocationType.RESPONSE, InvocationType.ERROR):
        node.datagram_received(fragments(Message(kind, 3, 7, 1, bytes(5000)))[0], CLIENT, NODE, 0.0)
    assert node.next_timer() is None
    node.datagram_received(fragments(Message(InvocationType.REQUEST, 3, 7, 1, bytes(5000)))[0], CLIENT, NODE, 0.0)
    assert node.next_timer() == 2.0
    node.handle_timer(2.0)
    assert node.next_timer() is None


def test_repeating_a_request_does_not_draw_its_large_answer_over_and_over() -> None:
    node = Serving(3)
    request = Message(InvocationType.REQUEST, 3, 7, 1, b"?")
    (requested,) = ask(node, request, NODE, 0.0)
    node.answer(requested, 200, bytes(1_000_000), 0.0)
    drawn = 0
    for number in range(10_000):
        now = number / 10_000
        assert ask(node, request, NODE, now) == []
        drawn += len(node.datagrams_to_send(now))
    assert node.size < 40_000_000
    once = len(fragments(request.answer(200, bytes(1_000_000))))
    assert 2 * once <= drawn <= 3 * once, "the answer, and as often again as a fifth of the pacer's rate allows"
    assert node.counts.repeated == 10_000


def test_many_requests_of_one_client_do_not_delay_the_answer_to_another() -> None:
    node = Serving(3)
    for number in range(2_000):
        datagram = fragments(Message(InvocationType.REQUEST, 4, 7, number, b""))[0]
        node.datagram_received(datagram, ("10.0.0.66", number), NODE, 0.0)
    (requested,) = ask(node, Message(InvocationType.REQUEST, 3, 7, 1, b""), NODE, 0.0)
    node.answer(requested, 200, b"done", 0.0)
    left = node.datagrams_to_send(0.001)
    assert CLIENT in [client for _, (client, _) in left]
