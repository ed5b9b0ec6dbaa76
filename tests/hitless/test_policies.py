"""What Python says of a service's table entries is what the compiled program takes, and reads back as it was."""

from collections.abc import Mapping
from dataclasses import fields

import pytest
from finsy.proto import p4i
from google.protobuf import text_format

from hitless.steering.policies import POLICIES, Policy, policy_of
from hitless.steering.rank import Score
from hitless.steering.settings import Configuration
from hitless.words import Affinity, OnNoLive, PolicyKind
from p4src.build import P4INFO, ROOT

INFO = text_format.Parse((ROOT / P4INFO).read_text(), p4i.P4Info())
PARAMS = {action.preamble.name: [param.name for param in action.params] for action in INFO.actions}


def example(policy: type[Policy]) -> Policy:
    """A policy with a value of its own in each field."""
    return policy(**{field.name: number for number, field in enumerate(fields(policy), 3)})  # type: ignore[arg-type]


def table(name: str) -> list[str]:
    """The actions that an entry of a table may have."""
    (found,) = (table for table in INFO.tables if table.preamble.name == name)
    names = {action.preamble.id: action.preamble.name for action in INFO.actions}
    return [names[one.id] for one in found.action_refs if one.scope != p4i.ActionRef.DEFAULT_ONLY]


def test_the_policies_are_those_of_the_program() -> None:
    assert sorted(policy.action for policy in POLICIES) == sorted(table("policies"))
    assert len(POLICIES) == len(PolicyKind) - len([PolicyKind.NONE])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policys_entry_has_the_programs_parameters_and_reads_back_as_the_policy(policy: type[Policy]) -> None:
    one = example(policy)
    assert [name for name, _ in one.params] == PARAMS[policy.action]
    assert policy_of(one.action, dict(one.params)) == one


@pytest.mark.parametrize(
    "one",
    [
        Score(cpu=1, memory=2, queue=3, busy_after=4, interval=5, contention=6),
        Configuration(
            affinity=Affinity.REQUEST,
            members=9,
            idle_after=1,
            stale_after=2,
            dead_after=3,
            on_no_live=OnNoLive.FALLBACK,
            fallback=0x0A000009,
            first_slot=7,
            slots=8,
            old_first_slot=5,
            old_slots=6,
        ),
    ],
)
def test_scoring_and_configuration_have_the_programs_parameters_and_read_back(one: Score | Configuration) -> None:
    params: Mapping[str, int] = dict(one.params)
    assert list(params) == PARAMS[one.action]
    assert type(one).of(params) == one
