"""The bench compares rates of one round only, says when it is invalid, and steers what it counts."""

import asyncio
import os
from pathlib import Path

import pytest

from experiments.bench import ratios
from experiments.bench.run import run
from topologies import targets


def one(**changes: float) -> dict[str, float]:
    rates = {
        "null": 100.0,
        "1 instance": 80.0,
        "8 instances": 80.0,
        "64 instances": 80.0,
        "256 services": 80.0,
        "bmv2": 10.0,
        "null again": 100.0,
    }
    return {**rates, **{name.replace("_", " "): value for name, value in changes.items()}}


def slower(rates: dict[str, float], factor: float) -> dict[str, float]:
    return {name: rate / factor for name, rate in rates.items()}


def test_a_slow_moment_of_the_machine_changes_no_ratio() -> None:
    summary = ratios.summary([one(), slower(one(), 3), one()])
    found = summary["softswitch"]
    assert summary["valid"]
    assert (found["pps_vs_bmv2"], found["pps_vs_bmv2_worst"]) == (8, 8)
    assert (found["pps_vs_null"], found["null_vs_null"], found["pps_spread_instances"]) == (0.8, 1, 1)


def test_the_worst_round_is_beside_the_median() -> None:
    found = ratios.summary([one(), one(), one(bmv2=40.0, **{"64 instances": 60.0, "null again": 90.0})])["softswitch"]
    assert (found["pps_vs_bmv2"], found["pps_vs_bmv2_worst"]) == (8, 2)
    assert (found["pps_spread_instances"], found["pps_spread_instances_worst"]) == (1, 1.333)
    assert (found["null_vs_null"], found["null_vs_null_worst"]) == (1, 0.9)


def test_services_and_instances_are_judged_apart() -> None:
    found = ratios.summary([one(**{"256 services": 64.0, "1 instance": 88.0})])["softswitch"]
    assert (found["pps_spread_services"], found["pps_spread_instances"]) == (1.25, 1.1)


def test_a_run_whose_null_forwarder_drifts_says_that_it_is_invalid() -> None:
    assert ratios.summary([one(**{"null again": 109.0})])["valid"]
    assert not ratios.summary([one(**{"null again": 111.0})])["valid"]
    assert not ratios.summary([one(**{"null again": 89.0})])["valid"]


def test_without_bmv2_there_is_no_ratio_to_it() -> None:
    rates = one()
    del rates["bmv2"]
    assert "pps_vs_bmv2" not in ratios.summary([rates])["softswitch"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces and raw sockets")
@pytest.mark.skipif(targets.missing("softswitch") is not None, reason="softswitch cannot be started here")
def test_a_short_round_on_real_switches(tmp_path: Path) -> None:
    rounds = []
    summary = asyncio.run(run(1, 0.1, tmp_path, lambda _, rates: rounds.append(rates)))
    assert len(rounds) == len(summary["rounds"]) == 1
    expected = {"null", "null again", "1 instance", "8 instances", "64 instances", "256 services"}
    assert expected <= set(rounds[0])
    assert ("bmv2" in rounds[0]) == (targets.missing("bmv2") is None)
    assert min(rounds[0].values()) > 1000
    assert summary["softswitch"]["pps_vs_null"] > 0
