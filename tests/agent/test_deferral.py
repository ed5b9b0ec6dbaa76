"""Updates that components put off, and configurations that they refuse; by a clock that is made up."""

import pytest

from greengrass_agent.deployment.deferral import Deferral, Step
from greengrass_agent.deployment.validation import Validation

A, B = {"A"}, {"A", "B"}


def asked(components: set[str] = A, timeout_s: float = 60) -> Deferral:
    deferral = Deferral(timeout_s)
    assert deferral.step(components, 100) is Step.ASK
    assert deferral.step(components, 100) is Step.WAIT
    assert deferral.deadline == 100 + timeout_s
    return deferral


def test_where_nobody_listens_an_update_begins_at_once() -> None:
    assert Deferral(60).step((), 100) is Step.GO


def test_an_update_begins_when_all_are_ready() -> None:
    deferral = asked(B)
    assert deferral.answer("A", 0, 101)
    assert deferral.step(B, 101) is Step.WAIT
    assert deferral.answer("B", 0, 102)
    assert deferral.step(B, 102) is Step.GO


def test_who_says_nothing_or_leaves_is_not_waited_for() -> None:
    assert asked().step(A, 159.9) is Step.WAIT
    late = asked()
    assert late.step(A, 160) is Step.GO
    assert not late.answer("A", 5, 161), "its time was up"
    assert asked().step((), 101) is Step.GO


def test_the_longest_wait_counts_and_after_it_all_are_asked_again() -> None:
    deferral = asked(B)
    assert deferral.answer("A", 500, 101)
    assert not deferral.answer("A", 900, 101), "it has answered"
    assert deferral.answer("B", 10, 102)
    assert deferral.step(B, 102) is Step.WAIT
    assert deferral.deadline == 601
    assert deferral.step(B, 600) is Step.WAIT
    assert deferral.step(B, 601) is Step.ASK
    assert (deferral.step(B, 601), deferral.deadline) == (Step.WAIT, 661)
    assert deferral.answer("A", 0, 602)
    assert deferral.answer("B", 0, 602)
    assert deferral.step(B, 602) is Step.GO


def test_one_that_puts_it_off_and_leaves_has_had_its_say_until_then() -> None:
    deferral = asked()
    assert deferral.answer("A", 30, 101)
    assert deferral.step((), 102) is Step.WAIT
    assert deferral.step((), 131) is Step.GO


def test_a_wait_is_kept_also_where_another_does_not_answer() -> None:
    deferral = asked(B)
    assert deferral.answer("A", 200, 101)
    assert deferral.step(B, 160) is Step.WAIT
    assert deferral.deadline == 301


def test_a_configuration_is_taken_when_all_that_are_asked_take_it() -> None:
    validation = Validation(30, set(B))
    assert validation.report("A", None)
    assert (validation.problem(B, 1), validation.waits) == (None, True)
    assert validation.report("B", None)
    assert (validation.problem(B, 1), validation.waits) == (None, False)
    assert not validation.report("C", "no"), "it was not asked"


@pytest.mark.parametrize(
    ("refusal", "now", "problem"),
    [
        ("port is taken", 1, "the new configuration is refused by A: port is taken"),
        (None, 30, "B did not say in time whether the new configuration is taken"),
    ],
)
def test_one_that_refuses_or_says_nothing_keeps_it_from_being_merged(
    refusal: str | None, now: float, problem: str
) -> None:
    validation = Validation(30, set(B))
    validation.report("A", refusal)
    assert validation.problem(B, now) == problem


def test_one_that_has_ended_is_not_asked_any_more() -> None:
    validation = Validation(30, set(A))
    assert (validation.problem((), 1), validation.waits) == (None, False)
