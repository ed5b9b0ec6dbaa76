"""What a trigger is: its topics and schedules, its place in the fabric's names and in a component's configuration."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hitless.component import topic_filters
from hitless.component.schedule import Passed, ScheduleError, parse, passed
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.topic_filters import matches, overlap
from hitless.component.triggers import Trigger, contradictions
from hitless.faults import faults
from hitless.mqtt.access import access_list

BERLIN = ZoneInfo("Europe/Berlin")
TRIGGERS = TypeAdapter(dict[str, Trigger])

LEVELS = st.lists(st.sampled_from(("a", "b", "")), min_size=1, max_size=4)
FILTERS = st.builds(
    lambda levels, last: "/".join([*levels, *last]),
    st.lists(st.sampled_from(("a", "b", "", "+")), min_size=1, max_size=3),
    st.sampled_from(([], ["#"], ["+"])),
)


def as_the_standard_says(pattern: str, topic: str) -> bool:
    """MQTT 5, 4.7.1, word by word."""
    if pattern.endswith("/#"):
        return as_the_standard_says(pattern[:-2], topic) or any(
            as_the_standard_says(pattern[:-2], topic[:at]) for at, letter in enumerate(topic) if letter == "/"
        )
    wanted, found = pattern.split("/"), topic.split("/")
    return len(wanted) == len(found) and all(one in ("+", other) for one, other in zip(wanted, found, strict=True))


@settings(max_examples=100)
@given(FILTERS, LEVELS.map("/".join))
def test_a_filter_matches_what_the_standard_says(pattern: str, topic: str) -> None:
    if topic_filters.problem(topic, wildcards=False) is None:
        assert matches(pattern, topic) is as_the_standard_says(pattern, topic)


@settings(max_examples=80)
@given(FILTERS, FILTERS, st.lists(LEVELS.map("/".join), min_size=6, max_size=6))
def test_filters_overlap_where_a_topic_fits_both(one: str, other: str, some: list[str]) -> None:
    assert overlap(one, other) is overlap(other, one)
    if any(matches(one, topic) and matches(other, topic) for topic in some):
        assert overlap(one, other)
    common = "/".join(
        first if first not in ("+", "#") else second.replace("+", "a").replace("#", "a")
        for first, second in zip(one.split("/"), other.split("/"), strict=False)
    )
    if len(one.split("/")) == len(other.split("/")) and "#" not in one + other and overlap(one, other):
        assert matches(one, common) and matches(other, common)


@pytest.mark.parametrize("text", ["a/#/b", "a+", "a#", "", "+b/c"])
def test_what_is_no_filter(text: str) -> None:
    assert topic_filters.problem(text, wildcards=True) is not None


def local(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2026-11-30T20:05", ["2026-11-30T20:15", "2026-11-30T20:30"]),
        ("0 9 * * mon-fri", "2026-11-27T10:00", ["2026-11-30T09:00", "2026-12-01T09:00"]),
        ("0 0 1,15 * *", "2026-11-30T00:00", ["2026-12-01T00:00", "2026-12-15T00:00"]),
        # Either day will do where both are said.
        ("0 0 13 * 5", "2026-11-01T00:00", ["2026-11-06T00:00", "2026-11-13T00:00", "2026-11-20T00:00"]),
        ("0 0 29 2 *", "2026-11-30T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("@daily", "2026-11-30T20:05", ["2026-12-01T00:00"]),
        # The clock has no 02:30 on the 29th of March.
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00", "2026-03-30T02:30"]),
        # It has two on the 25th of October: one call.
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30", "2026-10-26T02:30"]),
    ],
)
def test_cron(schedule: str, after: str, expected: list[str]) -> None:
    cron, at = parse(schedule, "Europe/Berlin"), local(after)
    found = []
    for _ in expected:
        at = cron.next_after(at)
        found.append(at)
    assert found == [local(one) for one in expected]


def test_a_schedule_of_stars_goes_on_through_the_hour_that_comes_twice() -> None:
    cron, at = parse("*/30 * * * *", "Europe/Berlin"), local("2026-10-25T01:30")
    times = [at := cron.next_after(at) for _ in range(6)]
    assert [two - one for one, two in itertools.pairwise(times)] == [1800.0] * 5


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        ("*/7 * * * *", "5 */3 * * *", "30 2 * * *", "15 1-3 * * 0", "@every 90s", "@every 7h", "0 0 31 * *")
    ),
    st.sampled_from(("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")),
    st.integers(int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())),
)
def test_each_time_is_after_the_one_before_and_none_is_left_out(schedule: str, zone: str, start: int) -> None:
    times, at = parse(schedule, zone), float(start)
    following = [at := times.next_after(at) for _ in range(4)]
    assert start < following[0] and following == sorted(set(following))
    # From anywhere between two of them the next one is the same: it does not matter when somebody looks.
    assert times.next_after(following[0] - 1) == following[0]
    assert times.next_after((following[0] + following[1]) / 2) == following[1]
    assert passed(times, start, following[3]) == Passed(following[3], 4)


def test_times_that_passed_are_counted_up_to_a_bound() -> None:
    week = parse("* * * * *")
    found = passed(week, 0.0, timedelta(days=7).total_seconds() + 30)
    assert found is not None and found.last == 7 * 86400 and found.count >= 500
    assert passed(week, 60.0, 119.0) is None


@pytest.mark.parametrize(
    "text", ["* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@reboot", "@every 0s", "@every 1.5s", "tomorrow"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError, match=r"^expected"):
        parse(text)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "one: expected one of topic and schedule"),
        ({"topic": "a", "schedule": "@daily"}, "one: expected one of topic and schedule"),
        ({"topic": "a", "delivery": "exactly_once"}, "one.delivery: expected 'at_least_once' or 'at_most_once'"),
        ({"topic": "hitless/things/#"}, "one.topic: expected a first level that is no wildcard, not hitless"),
        ({"topic": "+/temperature"}, "one.topic: expected a first level that is no wildcard"),
        ({"topic": "$SYS/broker"}, "one.topic: expected a first level that is no wildcard"),
        ({"topic": "a", "missed": "caught_up"}, "one: time_zone and missed: expected with a schedule alone"),
        ({"schedule": "@daily", "time_zone": "Mars/Olympus"}, "one.time_zone: expected a time zone such as"),
        ({"topic": "a", "delivery": "at_most_once", "attempts": 3}, "one: attempts: expected with at_least_once alone"),
        (
            {"topic": "a/#", "dead_letter": "a/dead"},
            "one: dead_letter: expected a topic that the trigger's own does not",
        ),
        ({"topic": "a", "dead_letter": "dead/+"}, "one.dead_letter: expected a topic without wildcards"),
        ({"topic": "a", "retries": 3}, "one.retries: unknown field"),
    ],
)
def test_what_is_no_trigger(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TRIGGERS.validate_python({"one": {"delivery": "at_least_once"} | fields})
    assert faults(raised.value, "triggers").startswith(told)


def test_triggers_of_a_service_must_not_hear_the_same() -> None:
    triggers = TRIGGERS.validate_python(
        {
            "all": {"delivery": "at_least_once", "topic": "rooms/#"},
            "one": {"delivery": "at_most_once", "topic": "rooms/+/door", "path": "/door"},
            "other": {"delivery": "at_most_once", "topic": "cars/1"},
        }
    )
    assert [(name, field) for name, field, _ in contradictions(triggers, "udp")] == [("one", "path"), ("one", "topic")]
    assert [(name, field) for name, field, _ in contradictions(triggers, "tcp")] == [("one", "topic")]


def test_a_components_configuration_carries_them() -> None:
    endpoint = {"address": "10.96.0.4", "port": 8000, "service_id": 4, "protocol": "tcp"}
    triggers = {"night": {"delivery": "at_least_once", "schedule": "0 3 * * *", "time_zone": "Europe/Berlin"}}
    configuration = ServiceConfiguration.read({"service": "web", "endpoints": {"web": endpoint}, "triggers": triggers})
    assert configuration is not None and configuration.triggers["night"].missed == "skipped"
    assert ServiceConfiguration.read(configuration.written()) == configuration


def test_who_takes_triggers_may_hear_their_topics_and_clients_may_publish_to_them() -> None:
    triggers = TRIGGERS.validate_python(
        {"rooms": {"delivery": "at_least_once", "topic": "rooms/#", "dead_letter": "dead/rooms"}}
    )
    text = access_list(["edge1"], ["camera"], triggers={"web": triggers, "plain": {}})
    sections = {part.splitlines()[0]: part.splitlines()[1:] for part in text.removeprefix("user ").split("\nuser ")}
    assert sections["trigger-web"] == [
        "topic readwrite hitless/services/web/holder",
        "topic readwrite hitless/services/web/triggers/+/fired",
        "topic read rooms/#",
        "topic write dead/rooms",
    ]
    assert "topic write rooms/#" in sections["client-camera"]
    assert "topic read hitless/services/+/holder" in sections["edge1"]
    assert not any("rooms" in line for line in sections["edge1"]), "its functions have no part in it"
    assert "trigger-plain" not in sections
