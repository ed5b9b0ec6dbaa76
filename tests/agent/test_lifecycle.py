"""The life of a component: launches that come, serve and leave, errors, and what holds on every path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.components.launch import Edition, Kill, Phase, RunStep, Serve, StartAnew, Suspend, Terminate
from greengrass_agent.components.lifecycle import (
    ERRORS_TO_BREAK,
    FORGIVE_S,
    LONGEST_RETRY_S,
    CannotChange,
    Elapsed,
    Event,
    Exited,
    Lifecycle,
    Reported,
    Restart,
    Stop,
    Unstartable,
    Want,
    Warm,
)
from hitless.component.states import ComponentState

BROKEN, RUNNING, STARTING = ComponentState.BROKEN, ComponentState.RUNNING, ComponentState.STARTING


def function(key: str = "a", *steps: str, workers: int = 1) -> Edition:
    return Edition(key, dict.fromkeys(steps or ("run",)), serves=True, workers=workers, leave_s=10)


def plain(key: str = "a", *steps: str) -> Edition:
    return Edition(key, dict.fromkeys(steps or ("run",)))


def serving(edition: Edition) -> Lifecycle:
    """A component whose first launch serves since time 0."""
    machine = Lifecycle()
    machine.handle(Want(edition), 0)
    machine.handle(Warm({1: edition.workers}), 0)
    assert machine.state is RUNNING
    return machine


def fail(machine: Lifecycle, now: float) -> float:
    """Let what is coming fail, and have the next try begin; the time then."""
    assert machine.coming is not None
    machine.handle(Exited(machine.coming.number, "run", 1), now)
    assert machine.deadline is not None
    return retry(machine)


def retry(machine: Lifecycle) -> float:
    now = machine.deadline
    assert now is not None
    before = machine.launches
    machine.handle(Elapsed(), now)
    assert machine.launches == before + 1
    return now


def test_a_function_runs_when_its_workers_are_warm() -> None:
    machine = Lifecycle()
    assert machine.handle(Want(function("a", "install", "run", workers=2)), 0) == [RunStep(1, "install")]
    assert machine.state is ComponentState.NEW
    assert machine.handle(Exited(1, "install", 0), 1) == [RunStep(1, "run")]
    assert machine.handle(Warm({1: 1}), 2) == []
    assert machine.state is STARTING
    assert machine.handle(Warm({1: 2}), 3) == [Serve(1)]
    assert (machine.state, machine.deadline) == (RUNNING, None)
    machine.handle(Warm({}), 4)
    assert machine.state is RUNNING, "a gateway that is away, or workers that are replaced, are no error"
    assert machine.handle(Stop(), 5) == [Terminate(1)]
    assert machine.state is ComponentState.STOPPING
    assert machine.handle(Exited(1, "run", -15), 5) == [Kill(1)]
    assert machine.state is ComponentState.INSTALLED


def test_a_function_is_replaced_beside_the_one_that_serves() -> None:
    machine = serving(function("a"))
    assert machine.handle(Want(function("b", "install", "run"), again=True), 100) == [RunStep(2, "install")]
    assert machine.handle(Exited(2, "install", 0), 101) == [RunStep(2, "run")]
    assert machine.state is STARTING
    assert machine.handle(Warm({1: 1, 2: 1}), 102) == [Serve(2)]
    assert machine.state is RUNNING
    assert machine.deadline == 112, "the old one has its time limit and a grace to finish"
    assert machine.handle(Exited(1, "run", -9), 103) == [Kill(1)]
    assert (machine.state, machine.errors, machine.deadline) == (RUNNING, 0, None)


def test_an_old_function_that_does_not_end_is_killed() -> None:
    machine = serving(function("a"))
    machine.handle(Want(function("b"), again=True), 100)
    machine.handle(Warm({1: 1, 2: 1}), 102)
    assert machine.handle(Elapsed(), 111) == []
    assert machine.handle(Elapsed(), 112) == [Kill(1)]
    assert machine.state is RUNNING


@pytest.mark.parametrize("trouble", ["exit", "late", "install", "unstartable"])
def test_a_version_that_does_not_come_up_leaves_the_old_one_at_work(trouble: str) -> None:
    machine = serving(function("a"))
    now, acted = 100.0, machine.handle(Want(function("b", "install", "run"), again=True), 100)
    while machine.state is not BROKEN:
        assert machine.coming is not None
        number = machine.coming.number
        if trouble == "install":
            acted += machine.handle(Exited(number, "install", 1), now)
        else:
            acted += machine.handle(Exited(number, "install", 0), now)
            acted += {
                "exit": lambda n=number, t=now: machine.handle(Exited(n, "run", 3), t),
                "late": lambda n=number, t=now: machine.handle(Elapsed(), t + 120),
                "unstartable": lambda n=number, t=now: machine.handle(Unstartable(n, "run", "no room"), t),
            }[trouble]()
        assert machine.deadline is not None
        now = machine.deadline
        if machine.state is not BROKEN:
            acted += machine.handle(Elapsed(), now)
    assert {type(action) for action in acted} == {RunStep, Kill}
    assert not [action for action in acted if action.launch == 1], "the old one has not noticed"
    assert machine.error is not None
    assert machine.suspended is None
    # A rollback has nothing to do.
    assert machine.handle(Want(function("a"), again=True), now) == []
    assert (machine.state, machine.error, machine.deadline) == (RUNNING, None, None)


def test_after_do_nothing_the_new_version_is_tried_again_with_growing_pauses() -> None:
    machine = serving(function("a"))
    machine.handle(Want(function("b"), again=True), 0)
    now, pauses = 0.0, []
    for _ in range(10):
        later = fail(machine, now)
        pauses.append(later - now)
        now = later
        assert machine.serving is not None
        assert machine.serving.number == 1
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses[-1] == LONGEST_RETRY_S
    assert machine.state is BROKEN
    assert machine.handle(Warm({1: 1, machine.launches: 1}), now) == [Serve(machine.launches)]
    assert machine.state is RUNNING


def test_a_component_that_cannot_start_is_suspended_until_it_does() -> None:
    machine = Lifecycle()
    machine.handle(Want(function("a")), 0)
    now = fail(machine, fail(machine, 0))
    assert machine.state is STARTING
    reason = "run exited with code 1"
    assert machine.handle(Exited(3, "run", 1), now) == [Kill(3), Suspend(reason)]
    assert (machine.state, machine.error) == (BROKEN, reason)
    now = retry(machine)
    assert machine.state is BROKEN, "until it has come up"
    assert machine.handle(Warm({4: 1}), now) == [Serve(4), Suspend(None)]
    assert (machine.state, machine.error) == (RUNNING, None)


def test_a_function_that_dies_faster_than_it_serves_breaks_though_it_comes_up() -> None:
    machine = serving(function("a"))
    now = 1.0
    for number in range(1, ERRORS_TO_BREAK):
        machine.handle(Exited(number, "run", 1), now)
        assert machine.state is ComponentState.ERRORED
        now = retry(machine)
        machine.handle(Warm({number + 1: 1}), now)
        assert machine.state is RUNNING
    assert Suspend("run exited with code 1") in machine.handle(Exited(ERRORS_TO_BREAK, "run", 1), now)
    assert machine.state is BROKEN


def test_errors_are_forgiven_to_a_launch_that_served_for_a_while() -> None:
    machine = serving(function("a"))
    now = 0.0
    for number in range(1, 7):
        machine.handle(Exited(number, "run", 0), now + FORGIVE_S)
        assert (machine.state, machine.errors) == (ComponentState.ERRORED, 1)
        assert machine.error == "run exited with code 0 although it serves"
        now = retry(machine)
        machine.handle(Warm({number + 1: 1}), now)


def test_more_workers_count_when_they_are_warm_and_fewer_at_once() -> None:
    machine = serving(function("a"))
    assert machine.handle(Want(function("a", workers=3)), 10) == []
    assert machine.state is STARTING
    machine.handle(Warm({1: 2}), 11)
    assert machine.state is STARTING
    machine.handle(Warm({1: 3}), 12)
    assert (machine.state, machine.deadline) == (RUNNING, None)
    machine.handle(Want(function("a", workers=1)), 13)
    assert machine.state is RUNNING


def test_workers_that_do_not_come_fail_the_change_and_not_the_function() -> None:
    machine = serving(function("a"))
    machine.handle(Want(function("a", workers=3)), 10)
    machine.handle(Warm({1: 2}), 11)
    assert machine.handle(Elapsed(), 130) == []
    assert machine.state is BROKEN
    assert machine.error == "2 of 3 workers are there after 120 s"
    assert machine.handle(Want(function("a"), again=True), 131) == [], "a rollback"
    assert machine.state is RUNNING


@pytest.mark.parametrize("broken", [False, True])
def test_a_restart_is_a_new_launch_at_once(broken: bool) -> None:
    machine = Lifecycle()
    machine.handle(Want(function("a")), 0)
    now = 0.0
    if broken:
        while machine.state is not BROKEN:
            now = fail(machine, now)
    else:
        machine.handle(Warm({1: 1}), 0)
    before = machine.serving
    actions = machine.handle(Restart(), now)
    number = machine.launches
    assert RunStep(number, "run") in actions
    assert machine.state is STARTING
    assert machine.serving is before
    assert Serve(number) in machine.handle(Warm({number: 1}), now)
    assert (machine.state, machine.errors, machine.suspended) == (RUNNING, 0, None)


def test_a_plain_component_is_installed_before_the_old_one_ends() -> None:
    machine = Lifecycle()
    assert machine.handle(Want(plain("a")), 0) == [RunStep(1, "run")]
    assert machine.state is RUNNING
    assert machine.handle(Want(plain("b", "install", "run")), 1) == [RunStep(2, "install")]
    assert machine.handle(Exited(2, "install", 0), 2) == [Terminate(1)]
    assert machine.handle(Exited(1, "run", -15), 3) == [Kill(1), RunStep(2, "run")]
    assert machine.state is RUNNING
    machine.handle(Exited(2, "run", 0), 4)
    assert machine.state is ComponentState.FINISHED


def test_a_plain_component_goes_on_if_the_new_one_cannot_be_installed() -> None:
    machine = Lifecycle()
    machine.handle(Want(plain("a")), 0)
    machine.handle(Want(plain("b", "install", "run")), 1)
    while machine.state is not BROKEN:
        machine.handle(Exited(machine.launches, "install", 1), 2)
        now = machine.deadline or 0
        if machine.state is not BROKEN:
            machine.handle(Elapsed(), now)
    assert machine.handle(Want(plain("a"), again=True), now) == []
    assert machine.state is RUNNING


def test_a_change_that_cannot_be_had_leaves_what_works() -> None:
    machine = serving(function("a"))
    assert machine.handle(CannotChange("no such thing"), 1) == []
    assert (machine.state, machine.error) == (BROKEN, "no such thing")
    assert machine.handle(Want(function("a"), again=True), 2) == []
    assert machine.state is RUNNING


@pytest.mark.parametrize(("limit", "expected"), [(None, 120.0), (5.0, 5.0)])
def test_a_start_has_a_time_limit(limit: float | None, expected: float) -> None:
    machine = Lifecycle()
    machine.handle(Want(Edition("a", {"startup": limit})), 10)
    assert machine.deadline == 10 + expected
    assert machine.handle(Elapsed(), 10 + expected - 0.1) == []
    assert machine.handle(Elapsed(), 10 + expected) == [Kill(1)]
    assert machine.state is ComponentState.ERRORED
    assert machine.error == f"startup not done within {expected:g} s"


def test_a_run_without_a_service_has_the_time_that_its_recipe_says_and_else_for_ever() -> None:
    machine = Lifecycle()
    machine.handle(Want(Edition("a", {"run": 5.0})), 10)
    assert (machine.state, machine.deadline) == (RUNNING, 15)
    assert machine.handle(Elapsed(), 15) == [Kill(1)]
    assert machine.error == "run not done within 5 s"
    endless = Lifecycle()
    endless.handle(Want(plain()), 10)
    assert (endless.state, endless.deadline) == (RUNNING, None)


def test_bootstrap_may_ask_for_a_restart_and_for_a_reboot_where_that_is_allowed() -> None:
    for code, allowed, expected in ((100, False, [StartAnew(1, False)]), (101, True, [StartAnew(1, True)])):
        machine = Lifecycle()
        edition = Edition("a", {"bootstrap": None, "run": None}, may_reboot=allowed)
        assert machine.handle(Want(edition), 0) == [RunStep(1, "bootstrap")]
        assert machine.handle(Exited(1, "bootstrap", code), 1) == expected
        assert machine.state is ComponentState.NEW, "it goes on when the agent is there again"
    machine = Lifecycle()
    machine.handle(Want(plain("a", "bootstrap", "run")), 0)
    assert machine.handle(Exited(1, "bootstrap", 101), 1) == [Kill(1)]
    assert machine.error is not None
    assert "allow_reboot" in machine.error


@pytest.mark.parametrize("before", ["running", "stopped"])
def test_uninstall_runs_once_when_an_installed_component_is_removed(before: str) -> None:
    machine = Lifecycle()
    machine.handle(Want(plain("a", "run", "uninstall")), 0)
    if before == "stopped":
        machine.handle(Stop(), 1)
        machine.handle(Exited(1, "run", -15), 1)
        assert machine.state is ComponentState.INSTALLED
        assert machine.handle(Stop(remove=True), 2) == [RunStep(2, "uninstall")]
    else:
        machine.handle(Stop(remove=True), 2)
        assert machine.handle(Exited(1, "run", -15), 2) == [Kill(1), RunStep(2, "uninstall")]
    assert machine.ending
    assert machine.handle(Exited(2, "uninstall", 1), 3) == [Kill(2)]
    assert (machine.state, machine.ending) == (ComponentState.UNINSTALLED, False)
    assert machine.handle(Stop(remove=True), 4) == []


def test_recover_runs_between_error_and_retry_and_may_fail() -> None:
    machine = serving(function("a", "run", "recover"))
    assert machine.handle(Exited(1, "run", 3), 1) == [Kill(1)]
    assert machine.handle(Elapsed(), 1.5) == [RunStep(2, "recover")]
    assert machine.state is ComponentState.ERRORED
    assert machine.handle(Exited(2, "recover", 1), 2) == [RunStep(2, "run")]
    assert (machine.state, machine.errors) == (STARTING, 1)


def test_shutdown_runs_before_the_process_is_asked_to_end() -> None:
    machine = Lifecycle()
    machine.handle(Want(plain("a", "run", "shutdown")), 0)
    assert machine.handle(Stop(remove=True), 1) == [RunStep(1, "shutdown")]
    assert machine.deadline == 16
    assert machine.handle(Exited(1, "shutdown", 0), 2) == [Terminate(1)]
    assert machine.state is ComponentState.UNINSTALLING
    assert machine.handle(Elapsed(), 16) == [Kill(1)]
    assert machine.state is ComponentState.UNINSTALLED


def test_a_replaced_function_is_shut_down_when_it_has_finished() -> None:
    machine = serving(function("a", "run", "shutdown"))
    machine.handle(Want(function("b"), again=True), 1)
    machine.handle(Warm({1: 1, 2: 1}), 2)
    assert machine.handle(Exited(1, "run", 0), 3) == [RunStep(1, "shutdown")]
    assert machine.handle(Exited(1, "shutdown", 0), 4) == [Kill(1)]
    assert machine.leaving == []


@pytest.mark.parametrize("failed", ["bootstrap", "install"])
def test_what_failed_before_the_start_is_repeated_from_the_first_step(failed: str) -> None:
    machine = Lifecycle()
    machine.handle(Want(function("a", "bootstrap", "install", "run")), 0)
    if failed == "install":
        machine.handle(Exited(1, "bootstrap", 0), 1)
    machine.handle(Exited(1, failed, 1), 2)
    assert machine.handle(Elapsed(), machine.deadline or 0) == [RunStep(2, "bootstrap")]
    machine.handle(Exited(2, "bootstrap", 0), 10)
    assert machine.handle(Exited(2, "install", 0), 11) == [RunStep(2, "run")]
    machine.handle(Exited(2, "run", 1), 12)
    assert machine.handle(Elapsed(), machine.deadline or 0) == [RunStep(3, "run")], "what was installed stays so"


def test_a_component_that_reports_itself_running_is_and_its_startup_may_go_on() -> None:
    machine = Lifecycle()
    machine.handle(Want(plain("a", "startup")), 0)
    assert (machine.state, machine.deadline) == (STARTING, 120)
    assert machine.handle(Reported(1, errored=False), 1) == []
    assert (machine.state, machine.deadline) == (RUNNING, None), "the step has no time limit any more"
    machine.handle(Exited(1, "startup", 0), 500)
    assert machine.state is RUNNING
    machine.handle(Reported(7, errored=True), 501)
    assert machine.state is RUNNING, "another launch has nothing to say"


def test_workers_decide_whether_a_function_runs_and_not_its_own_word() -> None:
    machine = Lifecycle()
    machine.handle(Want(function()), 0)
    assert machine.handle(Reported(1, errored=False), 1) == []
    assert machine.state is STARTING


@pytest.mark.parametrize("edition", [plain("a", "run", "recover"), plain("a", "startup", "recover")])
def test_a_component_that_reports_itself_errored_is_ended_recovered_and_tried_again(edition: Edition) -> None:
    machine = Lifecycle()
    machine.handle(Want(edition), 0)
    machine.handle(Reported(1, errored=False), 1)
    assert machine.handle(Reported(1, errored=True), 5) == [Kill(1)]
    assert (machine.state, machine.error) == (ComponentState.ERRORED, "it has reported itself ERRORED")
    assert machine.handle(Elapsed(), machine.deadline or 0) == [RunStep(2, "recover")]


def test_a_halted_component_is_finished_keeps_what_was_installed_and_comes_back_when_it_is_wanted() -> None:
    machine = Lifecycle()
    machine.handle(Want(plain("a", "install", "run")), 0)
    machine.handle(Exited(1, "install", 0), 1)
    assert machine.handle(Stop(halt=True), 2) == [Terminate(1)]
    assert not machine.halted
    machine.handle(Exited(1, "run", -15), 3)
    assert (machine.state, machine.halted, machine.deadline) == (ComponentState.FINISHED, True, None)
    assert machine.handle(Restart(), 4) == []
    assert machine.handle(Want(plain("a", "install", "run"), again=True), 5) == [RunStep(2, "run")]
    assert (machine.state, machine.halted) == (RUNNING, False)


EDITIONS = [
    function("a"),
    function("a", workers=3),
    function("b", "install", "run", "recover", workers=2),
    function("c", "bootstrap", "run", "shutdown"),
]
PLAIN = [plain("a"), plain("b", "bootstrap", "install", "run", "shutdown"), plain("c", "startup", "recover")]
STEPS = ("bootstrap", "install", "startup", "run", "shutdown", "recover")


def stories(editions: list[Edition]) -> st.SearchStrategy[list[Event | str]]:
    launches = st.integers(1, 6)
    event: st.SearchStrategy[Event | str] = st.one_of(
        st.builds(Want, st.sampled_from(editions), st.booleans()),
        st.builds(Restart),
        st.sampled_from([Stop(), Stop(remove=True), Stop(halt=True)]),
        st.builds(Reported, launches, st.booleans()),
        st.builds(Exited, launches, st.sampled_from(STEPS), st.sampled_from([0, 1, -9])),
        st.builds(Unstartable, launches, st.sampled_from(STEPS), st.just("no room")),
        st.builds(Warm, st.dictionaries(launches, st.integers(1, 3))),
        st.just(CannotChange("no such thing")),
        # Told by what is on its way, so that stories get beyond the first launch.
        st.sampled_from(WORDS),
        st.sampled_from(WORDS),
    )
    return st.lists(event, min_size=5, max_size=40).map(lambda story: [Want(editions[0]), *story])


WORDS = ("time passes", "the step ends well", "the step fails", "workers get warm", "the one at work dies")


def told(machine: Lifecycle, event: Event | str, now: float) -> tuple[Event, float]:
    """The event itself."""
    coming, serving = machine.coming, machine.serving
    match event:
        case "workers get warm":
            return Warm({launch.number: 3 for launch in machine.all()}), now
        case "the step ends well" | "the step fails" if coming is not None and coming._step is not None:
            return Exited(coming.number, coming._step, 0 if event == "the step ends well" else 1), now
        case "the one at work dies" if serving is not None and serving._step is not None:
            return Exited(serving.number, serving._step, 1), now
        case str():
            return Elapsed(), max(now, machine.deadline or now)
    return event, now


@given(stories(EDITIONS))
def test_whatever_happens_a_function_that_serves_goes_on_until_another_does(story: list[Event | str]) -> None:
    machine, now, served = Lifecycle(), 0.0, None
    for one in story:
        event, now = told(machine, one, now + 0.25)
        asked = isinstance(event, Stop)
        died = isinstance(event, Exited | Unstartable) and (event.launch, event.step) == (served, "run")
        died = died or event == Reported(served or 0, errored=True)
        for action in machine.handle(event, now):
            if isinstance(action, Serve):
                served = action.launch
            elif isinstance(action, Kill | Terminate) and action.launch == served:
                assert asked or died or machine.ending or machine.ended, f"{one} ended what served"
                served = None
        at_work = machine.serving.number if machine.serving is not None else None
        assert at_work == served or machine.ending
        if machine.state is BROKEN and machine.serving is None and not machine.ended:
            assert machine.suspended is not None, "callers know at once"
        if machine.serving is not None and not machine.ending:
            assert machine.suspended is None


@pytest.mark.parametrize("serves", [True, False])
@given(data=st.data())
def test_whatever_happens_nothing_hangs_runs_uninstalled_or_is_left_over(serves: bool, data: st.DataObject) -> None:
    machine, now = Lifecycle(), 0.0
    begun: set[int] = set()
    killed: set[int] = set()
    missing: dict[int, set[str]] = {}
    installed: set[str] = set()
    for one in data.draw(stories(EDITIONS if serves else PLAIN)):
        event, now = told(machine, one, now + 0.25)
        if isinstance(event, Exited) and event.code == 0 and (launch := machine.find(event.launch)) is not None:
            missing.get(event.launch, set()).discard(event.step if launch._step == event.step else "")
            installed = installed if missing.get(event.launch, {"all"}) else {launch.edition.key}
        for action in machine.handle(event, now):
            match action:
                case RunStep(number, step):
                    launch = machine.find(number)
                    if launch is not None and number not in begun:
                        needed = {"bootstrap", "install"} & set(launch.edition.steps)
                        missing[number] = set() if launch.edition.key in installed else needed
                    begun.add(number)
                    killed.discard(number)
                    if step in ("startup", "run"):
                        assert not missing[number], "started before it was installed"
                        installed = {launch.edition.key} if launch is not None else installed
                case Kill(number):
                    killed.add(number)
        assert begun - killed == {launch.number for launch in machine.all()} & begun, "each is killed once it is over"
        # Nothing that has a time limit or is to be tried again is ever without a deadline.
        for launch in machine.all():
            if launch.phase in (Phase.PREPARING, Phase.STARTING, Phase.LEAVING, Phase.CLOSING):
                assert launch.deadline is not None
        if machine.state is ComponentState.ERRORED:
            assert machine.deadline is not None
        if machine.state is BROKEN and machine.error != "no such thing" and machine.serving is None:
            assert machine.deadline is not None, "tried again"
    machine.handle(Stop(remove=True), now)
    while machine.ending:
        assert machine.deadline is not None
        now = machine.deadline
        machine.handle(Elapsed(), now)
    assert machine.state is ComponentState.UNINSTALLED
    assert machine.all() == []
