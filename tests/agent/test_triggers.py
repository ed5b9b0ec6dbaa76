"""What is decided about triggers: who takes them, what is done with an event, which times a service is called for."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.triggers import events, firing
from greengrass_agent.triggers.events import Message
from greengrass_agent.triggers.firing import Fire, Skip, decide
from greengrass_agent.triggers.progress import Bury, Call, End, InOrder, Outcome, Progress, Settle, Step, Wait
from greengrass_agent.triggers.standby import FIRST_S, LEASE_S, SPREAD_S, Standby
from hitless.component.schedule import parse
from hitless.component.triggers import Trigger
from hitless.wire import cloudevents

LEAST = Trigger("at_least_once", topic="a", attempts=3)
MOST = Trigger("at_most_once", topic="a")
GRAVE = Trigger("at_least_once", topic="a", attempts=2, dead_letter="dead")


# One event.


def walk(progress: Progress, step: Step, answers: Iterable[str | None], burials: Iterable[bool] = ()) -> list[str]:
    """What is done with an event, to its end."""
    done: list[str] = []
    coming, ends = iter(answers), iter(burials)
    while not isinstance(step, End):
        done.append(type(step).__name__.lower())
        match step:
            case Settle():
                step = progress.settled(True)
            case Call():
                step = progress.answered(next(coming))
            case Wait():
                step = progress.waited()
            case Bury():
                step = progress.buried(next(ends))
    return [*done, step.outcome.name.lower()]


def test_at_least_once_is_let_go_of_when_it_is_answered() -> None:
    progress = Progress(LEAST)
    assert walk(progress, progress.begin(), [None]) == ["call", "settle", "done"]
    progress = Progress(LEAST)
    failing = ["answered with 503", "answered with 503", None]
    assert walk(progress, progress.begin(), failing) == ["call", "wait", "call", "wait", "call", "settle", "done"]


def test_at_most_once_is_let_go_of_before_the_call_and_called_once() -> None:
    progress = Progress(MOST)
    assert walk(progress, progress.begin(), [None]) == ["settle", "call", "done"]
    progress = Progress(MOST)
    assert walk(progress, progress.begin(), ["no answer"]) == ["settle", "call", "dropped"]
    progress = Progress(MOST)
    progress.begin()
    assert progress.settled(False) == End(Outcome.LEFT), "what cannot be let go of is not called"


def test_an_event_that_always_fails_is_dropped_or_buried_and_then_let_go_of() -> None:
    progress = Progress(LEAST)
    steps = walk(progress, progress.begin(), ["answered with 500"] * 3)
    assert steps == ["call", "wait", "call", "wait", "call", "settle", "dropped"]
    progress = Progress(GRAVE)
    steps = walk(progress, progress.begin(), ["answered with 500"] * 2, [False, True])
    assert steps == ["call", "wait", "call", "bury", "wait", "bury", "settle", "buried"], "never let go of before"
    progress = Progress(GRAVE)
    assert progress.refused("no CloudEvent: id: expected") == Bury("no CloudEvent: id: expected")


def test_pauses_grow() -> None:
    progress = Progress(Trigger("at_least_once", topic="a"))
    pauses, step = [], progress.begin()
    while not isinstance(step, Settle):
        match step:
            case Call():
                step = progress.answered("no answer")
            case Wait(seconds):
                pauses.append(seconds)
                step = progress.waited()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30]


@given(st.data())
def test_the_promise_holds_wherever_a_node_dies(data: st.DataObject) -> None:
    """An event goes from holder to holder, each of which dies after some steps; then one lives."""
    trigger = data.draw(st.sampled_from([LEAST, MOST]))
    settled, calls = False, 0
    for mortal in (*data.draw(st.lists(st.just(True), max_size=4)), False):
        if settled:
            break
        progress = Progress(trigger)
        step = progress.begin()
        steps = data.draw(st.integers(0, 3)) if mortal else 10
        while steps and not isinstance(step, End):
            steps -= 1
            match step:
                case Settle():
                    settled = True
                    step = progress.settled(True)
                case Call():
                    calls += 1
                    step = progress.answered(None)
    assert settled
    assert calls >= 1 if trigger is LEAST else calls <= 1


@given(st.permutations(range(1, 8)))
def test_acknowledgements_go_in_the_order_of_the_messages(order: list[int]) -> None:
    own = InOrder()
    for number in range(1, 8):
        own.came(number)
    told = [(number, own.settle(number)) for number in order]
    assert [one for _, ready in told for one in ready] == list(range(1, 8))
    for at, (_, ready) in enumerate(told):
        assert set(ready) <= set(order[: at + 1]), "none before it has been dealt with"


# Who takes them.


def test_free_triggers_are_taken_soon_and_taken_ones_when_their_holder_is_silent() -> None:
    own = Standby("edge1", "web")
    assert own.due is None, "the broker is not heard yet"
    own.listening(100.0)
    assert own.due is not None and 100 + FIRST_S <= own.due <= 100 + FIRST_S + SPREAD_S
    own.told(True, 100.05)
    assert own.due > 100.05 + LEASE_S
    own.told(True, 108.0)
    assert own.due > 108.0 + LEASE_S, "a holder that goes on is believed on"
    own.told(False, 109.0)
    assert 109 + FIRST_S <= own.due <= 109 + FIRST_S + SPREAD_S


def test_two_nodes_do_not_wake_at_the_same_time() -> None:
    both = [Standby(node, "web") for node in ("edge1", "edge2")]
    for one in both:
        one.listening(0.0)
    assert both[0].due != both[1].due


def test_who_was_replaced_waits_for_the_word_of_the_next() -> None:
    own = Standby("edge1", "web")
    own.listening(0.0)
    own.told(True, 5.0)  # the one that took them
    own.lost(5.01, held=True)
    assert own.due is not None and own.due > 5.0 + LEASE_S
    own.told(False, 20.0)
    waits = []
    for _ in range(8):
        at = own.due
        own.lost(at, held=False)
        waits.append(round(own.due - at, 3))
    assert waits == sorted(waits) and waits[-1] > 10, "a broker that refuses is asked more and more seldom"


# Times.

MINUTELY = parse("* * * * *")


def test_a_time_is_called_for_when_it_has_come() -> None:
    assert decide(MINUTELY, 600.0, 610.0, caught_up=False) == firing.Wait(660.0)
    assert decide(MINUTELY, 600.0, 660.0, caught_up=False) == Fire(660.0, 0)
    # The holder died at 655, the next one has taken them at 664.
    assert decide(MINUTELY, 600.0, 664.0, caught_up=False) == Fire(660.0, 0)


def test_missed_times_are_skipped_or_caught_up_once() -> None:
    assert decide(MINUTELY, 600.0, 900.0 + 31, caught_up=False) == Skip(900.0, 5)
    assert decide(MINUTELY, 600.0, 900.0 + 31, caught_up=True) == Fire(900.0, 4)
    # A call that took so long that others have passed meanwhile.
    assert decide(MINUTELY, 600.0, 721.0, caught_up=False) == Fire(720.0, 1)


def test_a_clock_that_is_behind_calls_for_nothing_twice() -> None:
    assert decide(MINUTELY, 660.0, 658.0, caught_up=True) == firing.Wait(720.0)
    # A record of a clock that was a day ahead does not silence the schedule for a day.
    assert decide(MINUTELY, 86_400.0, 610.0, caught_up=True) == firing.Wait(660.0)


@given(st.lists(st.floats(0, 400), min_size=1, max_size=20), st.sampled_from(["* * * * *", "@every 25s", "0 * * * *"]))
def test_each_time_is_called_for_once_whoever_looks_and_whenever(steps: list[float], text: str) -> None:
    schedule, dealt_with, now = parse(text), 600.0, 600.0
    fired = []
    for step in steps:
        now += step
        while not isinstance(decision := decide(schedule, dealt_with, now, caught_up=True), firing.Wait):
            assert isinstance(decision, Fire)
            assert decision.at <= now
            fired.append(decision.at)
            dealt_with = decision.at
        assert decision.until > now
    assert fired == sorted(set(fired))
    assert all(schedule.next_after(at - 1) == at for at in fired)


# Events.


def test_a_message_reaches_a_service_as_it_is_with_what_is_known_of_it() -> None:
    message = Message("rooms/1/temperature", b'{ "celsius": 21.5 }', "application/json")
    event = events.of_message("web", "rooms", message, "some-id", 1_800_000_000.0)
    request = events.request(event, "tcp", "2.0", message)
    assert request.body == message.payload, "to the byte"
    assert request.headers == {
        "ce-specversion": "1.0",
        "ce-id": "some-id",
        "ce-source": "/services/web/triggers/rooms",
        "ce-type": "hitless.trigger.message",
        "ce-subject": "rooms/1/temperature",
        "ce-time": "2027-01-15T08:00:00Z",
        "content-type": "application/json",
    }
    assert cloudevents.from_http(request.headers, request.body)["data"] == {"celsius": 21.5}
    assert events.request(event, "udp", "2.0", message).body == message.payload
    told = json.loads(events.request(event, "udp", "cloudevents", message).body)
    assert (told["data"], told["subject"]) == ({"celsius": 21.5}, "rooms/1/temperature")


@pytest.mark.parametrize(
    "message",
    [
        Message("a/\x01", b"\xff", "application/json"),
        Message("a b%", b"", None),
        Message("a", b"x", "text/plain\n"),
        Message("ä", "ä".encode("latin-1"), "text/plain; charset=latin-1"),
    ],
)
def test_any_message_is_an_event(message: Message) -> None:
    event = events.of_message("web", "rooms", message, "1", 0.0)
    request = events.request(event, "tcp", "cloudevents", message)
    assert request.body == message.payload
    assert all(value.isprintable() for value in request.headers.values())
    assert cloudevents.checked(json.loads(events.request(event, "udp", "cloudevents", message).body))


def test_a_message_that_is_an_event_stays_that_event() -> None:
    own = {"specversion": "1.0", "id": "7", "source": "/sensor", "type": "told", "data": {"a": 1}}
    message = Message("a", json.dumps(own).encode())
    assert events.of_message("web", "rooms", message, "other", 0.0) == own
    headers = events.request(own, "tcp", "2.0", message).headers
    assert (headers["ce-id"], headers["ce-source"]) == ("7", "/sensor")


def test_a_point_in_time_is_the_same_event_whoever_makes_it() -> None:
    event = events.of_time("web", "night", 1_800_000_000.0)
    assert event["id"] == "night-2027-01-15T08:00:00Z" and event == events.of_time("web", "night", 1_800_000_000.0)
    request = events.request(event, "tcp", "2.0", None)
    assert request.body == b"" and request.headers["ce-type"] == "hitless.trigger.schedule"
    assert json.loads(events.request(event, "udp", "2.0", None).body) == event
