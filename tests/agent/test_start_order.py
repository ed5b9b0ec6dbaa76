"""Which component may start now: after those that it needs, and again when one of those has come back."""

from greengrass_agent.deployment.order import StartOrder
from hitless.component.states import ComponentState

NEEDS = {"A": frozenset({"B"}), "B": frozenset({"C"}), "C": frozenset[str](), "D": frozenset[str]()}


def starts(order: StartOrder) -> list[str]:
    """Everything that may start now."""
    found = []
    while (name := order.next()) is not None:
        found.append(name)
    return found


def all_running() -> StartOrder:
    order = StartOrder()
    order.begin(NEEDS, ["C", "B", "A", "D"])
    for name in ("C", "B", "A", "D"):
        assert name in starts(order) or name == "D"
        order.changed(name, ComponentState.RUNNING)
    return order


def test_a_component_starts_when_those_that_it_needs_run_or_have_finished() -> None:
    order = StartOrder()
    order.begin(NEEDS, ["C", "B", "A", "D"])
    assert starts(order) == ["C", "D"]
    order.changed("C", ComponentState.STARTING)
    assert starts(order) == []
    assert order.waits("B") == "waits for C, which is STARTING"
    order.changed("C", ComponentState.FINISHED)
    assert starts(order) == ["B"]
    assert order.waits("A") == "waits for B, which is not started yet"
    order.changed("B", ComponentState.RUNNING)
    assert starts(order) == ["A"]
    assert order.waits("A") is None


def test_who_needs_a_broken_component_waits_and_says_why_until_it_runs() -> None:
    order = StartOrder()
    order.begin(NEEDS, ["C", "B"])
    starts(order)
    order.changed("C", ComponentState.BROKEN, "run exited with code 1")
    assert starts(order) == []
    assert order.waits("B") == "waits for C, which is BROKEN: run exited with code 1"
    assert order.pending("B")
    order.changed("C", ComponentState.RUNNING)
    assert starts(order) == ["B"]


def test_who_needs_a_component_that_comes_back_starts_again_and_so_do_those_who_need_it() -> None:
    order = all_running()
    order.changed("C", ComponentState.ERRORED, "run exited with code 1")
    assert starts(order) == [], "it goes on until the other is back"
    assert order.waits("B") == "starts again with C, which is ERRORED: run exited with code 1"
    order.changed("B", ComponentState.ERRORED, "no connection to C")
    order.changed("B", ComponentState.BROKEN, "no connection to C")
    order.changed("C", ComponentState.RUNNING)
    assert starts(order) == ["B"]
    order.changed("B", ComponentState.RUNNING)
    assert starts(order) == ["A"]
    order.changed("A", ComponentState.RUNNING)
    assert starts(order) == []


def test_what_has_finished_or_was_broken_before_is_not_started_again() -> None:
    order = all_running()
    order.changed("A", ComponentState.FINISHED)
    order.changed("B", ComponentState.ERRORED)
    order.changed("B", ComponentState.RUNNING)
    assert starts(order) == []


def test_a_plan_makes_dependents_wait_for_what_is_replaced_and_a_rollback_forgets_it() -> None:
    order = all_running()
    order.begin(NEEDS, ["C", "B", "A"])
    assert starts(order) == ["C"], "its earlier state does not count"
    order.begin(NEEDS, ["C"])
    assert not order.pending("B")
    assert starts(order) == ["C"]
