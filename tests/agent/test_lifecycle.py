"""The life of a component: the documented path, errors, and what holds on every path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.components.lifecycle import (
    FORGIVE_S,
    Action,
    CannotStart,
    Elapsed,
    Event,
    Exited,
    Kill,
    Lifecycle,
    Ready,
    RunStep,
    Start,
    Stop,
    Terminate,
)
from greengrass_agent.states import State


def fail(machine: Lifecycle, now: float) -> float:
    """Let a started component fail once, and have its retry begin; the time then."""
    machine.handle(Exited("run", 1), now)
    if machine.state is State.ERRORED:
        assert machine.deadline is not None
        now = machine.deadline
        assert machine.handle(Elapsed(), now) == [RunStep("run")]
    return now


def test_a_served_function_runs_when_its_workers_are_there() -> None:
    machine = Lifecycle({"install": None, "run": None}, serves=True)
    assert machine.handle(Start(), 0) == [RunStep("install")]
    assert machine.state is State.NEW
    assert machine.handle(Ready(), 0) == []
    assert machine.handle(Exited("install", 0), 1) == [RunStep("run")]
    assert machine.state is State.STARTING
    machine.handle(Ready(), 2)
    assert machine.state is State.RUNNING
    assert machine.deadline is None
    assert machine.handle(Stop(), 3) == [Terminate()]
    assert machine.state is State.STOPPING
    assert machine.handle(Exited("run", -15), 3) == [Kill()]
    assert machine.state is State.INSTALLED


def test_a_script_without_a_service_runs_at_once_and_may_finish() -> None:
    machine = Lifecycle({"run": None})
    machine.handle(Start(), 0)
    assert machine.state is State.RUNNING
    machine.handle(Exited("run", 0), 1)
    assert machine.state is State.FINISHED


def test_three_errors_break_and_an_hour_forgives() -> None:
    machine = Lifecycle({"run": None}, serves=True)
    machine.handle(Start(), 0)
    now = fail(machine, 1)
    now = fail(machine, now)
    fail(machine, now)
    assert machine.state is State.BROKEN
    assert machine.error == "run exited with code 1"
    assert machine.deadline == now + FORGIVE_S
    assert machine.handle(Elapsed(), now + FORGIVE_S) == [RunStep("run")]
    assert machine.state is State.STARTING


def test_errors_an_hour_apart_do_not_add_up() -> None:
    machine = Lifecycle({"run": None}, serves=True)
    machine.handle(Start(), 0)
    now = 0.0
    for _ in range(6):
        now = fail(machine, now + FORGIVE_S)
        assert machine.state is State.STARTING


@pytest.mark.parametrize(("limit", "expected"), [(None, 120.0), (5.0, 5.0)])
def test_a_start_has_a_time_limit(limit: float | None, expected: float) -> None:
    machine = Lifecycle({"startup": limit})
    machine.handle(Start(), 10)
    assert machine.deadline == 10 + expected
    assert machine.handle(Elapsed(), 10 + expected - 0.1) == []
    assert machine.handle(Elapsed(), 10 + expected) == [Kill()]
    assert machine.state is State.ERRORED


def test_recover_runs_between_error_and_retry() -> None:
    machine = Lifecycle({"run": None, "recover": None}, serves=True)
    machine.handle(Start(), 0)
    assert machine.handle(Exited("run", 3), 1) == [Kill(), RunStep("recover")]
    machine.handle(Exited("recover", 1), 2)
    assert machine.deadline is not None
    assert machine.handle(Elapsed(), machine.deadline) == [RunStep("run")]
    assert machine.errors == 1


def test_shutdown_runs_before_the_process_is_asked_to_end() -> None:
    machine = Lifecycle({"run": None, "shutdown": None})
    machine.handle(Start(), 0)
    assert machine.handle(Stop(remove=True), 1) == [RunStep("shutdown")]
    assert machine.deadline == 16
    assert machine.handle(Exited("shutdown", 0), 2) == [Terminate()]
    assert machine.state is State.UNINSTALLING
    assert machine.handle(Elapsed(), 16) == [Kill()]
    assert machine.state is State.UNINSTALLED


def test_a_served_function_that_ends_by_itself_has_failed() -> None:
    machine = Lifecycle({"run": None}, serves=True)
    machine.handle(Start(), 0)
    machine.handle(Ready(), 1)
    machine.handle(Exited("run", 0), 2)
    assert machine.state is State.ERRORED


@pytest.mark.parametrize("failed", ["bootstrap", "install"])
def test_what_failed_before_the_launch_is_repeated_from_the_first_step(failed: str) -> None:
    machine = Lifecycle({"bootstrap": None, "install": None, "run": None}, serves=True)
    machine.handle(Start(), 0)
    if failed == "install":
        machine.handle(Exited("bootstrap", 0), 1)
    machine.handle(Exited(failed, 1), 2)
    assert machine.deadline is not None
    assert machine.handle(Elapsed(), machine.deadline) == [RunStep("bootstrap")]
    assert machine.state is State.NEW
    machine.handle(Exited("bootstrap", 0), 10)
    assert machine.handle(Exited("install", 0), 11) == [RunStep("run")]
    machine.handle(Exited("run", 1), 12)
    assert machine.handle(Elapsed(), machine.deadline) == [RunStep("run")], "what was installed stays so"


@pytest.mark.parametrize("failed", ["bootstrap", "install"])
def test_a_component_that_broke_before_the_launch_begins_anew_after_an_hour(failed: str) -> None:
    machine = Lifecycle({"bootstrap": None, "install": None, "run": None}, serves=True)
    machine.handle(Start(), 0)
    now = 0.0
    while machine.state is not State.BROKEN:
        if failed == "install":
            machine.handle(Exited("bootstrap", 0), now)
        machine.handle(Exited(failed, 1), now)
        assert machine.deadline is not None
        now = machine.deadline
        actions = machine.handle(Elapsed(), now) if machine.state is State.ERRORED else []
        assert actions in ([], [RunStep("bootstrap")])
    assert machine.handle(Elapsed(), now) == [RunStep("bootstrap")]
    assert (machine.state, machine.errors) == (State.NEW, 0)
    assert machine.handle(Exited("bootstrap", 0), now) == [RunStep("install")]
    assert machine.handle(Exited("install", 0), now) == [RunStep("run")]


def test_a_component_that_cannot_be_started_is_broken_and_not_tried_again() -> None:
    machine = Lifecycle({"run": None}, serves=True)
    assert machine.handle(CannotStart("no control group"), 0) == [Kill()]
    assert (machine.state, machine.error, machine.deadline) == (State.BROKEN, "no control group", None)
    assert machine.handle(Elapsed(), FORGIVE_S) == []
    assert machine.handle(Stop(), 1) == [Kill()]
    assert machine.state is State.INSTALLED


STEPS = ("bootstrap", "install", "startup", "run", "shutdown", "recover")
events: st.SearchStrategy[Event | str] = st.one_of(
    st.just(Start()),
    st.builds(Stop, st.booleans()),
    st.builds(Exited, st.sampled_from(STEPS), st.sampled_from([0, 1, -9])),
    st.just(Ready()),
    st.just(Elapsed()),
    st.just(CannotStart("no room")),
    st.just("wait for the deadline"),
)


@given(st.sets(st.sampled_from(STEPS)), st.booleans(), st.lists(events, max_size=40))
def test_whatever_happens_a_component_is_installed_before_it_is_launched_and_can_be_ended(
    steps: set[str], serves: bool, story: list[Event | str]
) -> None:
    machine = Lifecycle(dict.fromkeys(steps), serves=serves)
    now = 0.0
    running: str | None = None
    missing = steps & {"bootstrap", "install"}
    for event in story:
        now += 0.25
        if isinstance(event, str):
            now = max(now, machine.deadline or now)
        actions: list[Action] = machine.handle(Elapsed() if isinstance(event, str) else event, now)
        if isinstance(event, Exited) and event.step == running:
            missing -= {running} if event.code == 0 else set()
            running = None
        begun = [action.step for action in actions if isinstance(action, RunStep)]
        assert set(begun) <= steps
        assert not (missing and {"startup", "run"} & set(begun)), "launched before it was installed"
        running = begun[-1] if begun else None if Kill() in actions else running
        assert machine.errors <= 3
        # Nothing that has a time limit or is to be tried again is ever without a deadline.
        if machine.state in (State.STARTING, State.ERRORED, State.STOPPING, State.UNINSTALLING, State.BROKEN):
            given_up = machine.state is State.BROKEN and machine.error == "no room"
            assert (machine.deadline is not None) is not given_up
    machine.handle(Stop(remove=True), now)
    if machine.state is not State.UNINSTALLED:
        assert machine.deadline is not None
        assert Kill() in machine.handle(Elapsed(), machine.deadline)
    assert machine.state is State.UNINSTALLED
