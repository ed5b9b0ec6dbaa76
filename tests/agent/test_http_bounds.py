"""What a connection may cost: how long it may take, how many there may be, which one gives way."""

import pytest

from greengrass_agent.gateway.http import bounds
from greengrass_agent.gateway.http.bounds import BodyClock, Held, connection_bound, give_up_body, give_way


@pytest.mark.parametrize(
    ("every", "size", "ends"),
    [
        (9.0, 10_000, None),
        (9.0, 1, 10.0),  # a byte now and then is progress, and too little of it
        (1.0, 400, 50.0),
        (1.0, 600, None),
        (11.0, 10_000, 10.0),  # silence
    ],
)
def test_a_body_may_come_slowly_but_not_for_ever(every: float, size: int, ends: float | None) -> None:
    clock = BodyClock(0.0)
    now = 0.0
    while now < 1000 and clock.due > now + every:
        now += every
        clock.came(size, now)
    assert (clock.due if now < 1000 else None) == (ends if ends is None else pytest.approx(ends, rel=0.1))


def test_a_fast_beginning_does_not_pay_for_a_slow_rest() -> None:
    clock = BodyClock(0.0)
    clock.came(1 << 30, 1.0)
    now = 1.0
    while clock.due > now + 5:
        now += 5
        clock.came(1, now)
    assert now < 1.0 + bounds.BODY_CREDIT_S + bounds.BODY_SILENCE_S


def test_what_a_client_could_not_send_is_not_its_fault() -> None:
    clock = BodyClock(0.0)
    clock.resumed(100.0)
    assert clock.due == 100.0 + bounds.BODY_SILENCE_S


@pytest.mark.parametrize(
    ("descriptors", "used", "wanted"),
    [(20_000, 20, bounds.MAX_CONNECTIONS), (1024, 24, 936), (64, 24, 30), (20, 20, 1), (1 << 20, 20, 16384)],
)
def test_there_are_descriptors_left_for_workers_and_files(descriptors: int, used: int, wanted: int) -> None:
    assert connection_bound(descriptors, used) == wanted


def test_the_idlest_of_the_greediest_source_gives_way() -> None:
    held = [Held("good", "10.0.0.1", 1.0), Held("newer", "10.0.0.9", 9.0), Held("older", "10.0.0.9", 5.0)]
    assert give_way(held, {"10.0.0.1": 1, "10.0.0.9": 2}, 3) == ["older"]
    assert give_way([], {}, 3) == []
    many = [Held(number, "10.0.0.9", float(number)) for number in range(6400)]
    assert give_way(many, {"10.0.0.9": 6400}, 6400) == list(range(bounds.GIVING_WAY)), "a flood pays for the search"


def test_the_body_given_up_is_of_the_source_that_holds_most() -> None:
    held = [
        Held("good", "10.0.0.1", 1.0, 500),
        Held("silent", "10.0.0.9", 5.0, 300),
        Held("sending", "10.0.0.9", 9.0, 300),
        Held("empty", "10.0.0.9", 0.0),
    ]
    assert give_up_body(held) == "silent"
    assert give_up_body(held[3:]) is None
