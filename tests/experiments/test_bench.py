"""The bench compares figures of one round only, says when it is invalid, and measures real switches."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controller.switches.p4runtime import Program
from experiments.bench import entries, inside, packets, ratios
from experiments.bench.ratios import (
    CPU,
    ENTRIES,
    ENTRIES_CPU,
    P50,
    P99,
    PPS,
    RATIOS,
    WRITES,
    WRITES_CPU,
    Round,
)
from experiments.bench.run import HERE, Size, bench
from experiments.native.compiling import compile_program
from experiments.native.lab import Lab, Network
from topologies import targets

Figures = dict[str, dict[str, float]]
LOADS = ("1 instance", "8 instances", "64 instances", "256 services")
INSIDE = [dict.fromkeys(LOADS, 150.0)]


def one() -> Figures:
    return {
        PPS: {
            "null": 100.0,
            "null again": 100.0,
            "null, af_xdp": 150.0,
            "bmv2": 10.0,
            **dict.fromkeys(LOADS, 80.0),
            "8 instances, af_xdp": 120.0,
        },
        CPU: {"null": 10.0, "null again": 10.0, **dict.fromkeys(LOADS, 12.0)},
        P50: {"null": 10.0, "softswitch": 11.0, "null again": 10.0},
        P99: {"null": 20.0, "softswitch": 25.0, "null again": 20.0},
        ENTRIES: {"softswitch": 60.0, "bmv2": 100.0},
        WRITES: {"softswitch": 9.0, "bmv2": 10.0},
        ENTRIES_CPU: {"softswitch": 2.0, "bmv2": 1.0},
        WRITES_CPU: {"softswitch": 2.0, "bmv2": 1.0},
    }


def changed(quantity: str, **figures: float) -> Figures:
    new = one()
    new[quantity] |= {name.replace("_", " ").removeprefix("of "): value for name, value in figures.items()}
    return new


def slower(figures: Figures, factor: float) -> Figures:
    less = (PPS, ENTRIES, WRITES)
    return {
        quantity: {name: value / factor if quantity in less else value * factor for name, value in values.items()}
        for quantity, values in figures.items()
    }


def told(*rounds: Round) -> dict[str, float]:
    found: dict[str, float] = ratios.summary(rounds, INSIDE)["softswitch"]
    return found


def test_a_slow_moment_of_the_machine_changes_no_ratio() -> None:
    found = told(one(), slower(one(), 3), one())
    expected = {
        "pps_vs_bmv2": 8,
        "pps_vs_null": 0.8,
        "pps_af_xdp_vs_null": 0.8,
        "pps_af_xdp_vs_af_packet": 1.5,
        "latency_p50_vs_null": 1.1,
        "latency_p99_vs_null": 1.25,
        "entries_vs_bmv2": 0.6,
        "writes_vs_bmv2": 0.9,
        "null_vs_null": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert {name: found[f"{name}_worst"] for name in expected} == expected


def test_the_worst_round_is_beside_the_median() -> None:
    found = told(one(), one(), changed(PPS, bmv2=40.0, null_again=90.0) | {P99: changed(P99, softswitch=60.0)[P99]})
    assert (found["pps_vs_bmv2"], found["pps_vs_bmv2_worst"]) == (8, 2)
    assert (found["latency_p99_vs_null"], found["latency_p99_vs_null_worst"]) == (1.25, 3)
    assert (found["null_vs_null"], found["null_vs_null_worst"]) == (1, 0.9)


def test_the_table_has_median_and_worst_of_every_ratio() -> None:
    summary = ratios.summary([one(), one(), changed(PPS, bmv2=40.0)], INSIDE)
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in ratios.table(summary).splitlines()[2:]]
    assert ["pps_vs_bmv2", "8.00", "2.00"] in rows
    assert {name for name, *_ in rows} == {name for name in told(one()) if not name.endswith("_worst")}


def test_services_and_instances_are_judged_apart() -> None:
    found = told(changed(PPS, of_256_services=64.0, of_1_instance=88.0))
    assert (found["pps_spread_services"], found["pps_spread_instances"]) == (1.25, 1.1)
    assert (found["cpu_spread_services"], found["inside_cpu_spread_services"]) == (1, 1)


def test_a_run_whose_null_forwarder_drifts_says_that_it_is_invalid() -> None:
    for rate, valid in ((109.0, True), (111.0, False), (91.0, True), (89.0, False)):
        assert ratios.summary([changed(PPS, null_again=rate)], INSIDE)["valid"] is valid


def test_without_bmv2_there_is_no_ratio_to_it() -> None:
    figures = {
        quantity: {name: value for name, value in values.items() if name != "bmv2"}
        for quantity, values in one().items()
    }
    found = told(figures)
    assert not [name for name in found if "bmv2" in name]
    assert {ratio.name for ratio in RATIOS if ratio.other != "bmv2"} <= set(found)


def test_busy_tells_whether_the_switch_or_the_sender_set_the_pace() -> None:
    figures = one() | {PPS: dict.fromkeys((*LOADS, "null", "null again"), 500_000.0)}
    figures |= {CPU: {**dict.fromkeys(LOADS, 1000.0), "null": 2000.0, "null again": 2000.0}}
    busy = ratios.summary([figures], INSIDE)["busy"]
    assert (busy["8 instances"], busy["null"]) == (0.5, 1)


needs_root = pytest.mark.root("needs root for network namespaces and raw sockets")
needs_softswitch = pytest.mark.skipif(
    targets.missing("softswitch") is not None, reason="softswitch cannot be started here"
)


def calm_bench(size: Size, folder: Path, told: list[str]) -> dict[str, Any]:
    """Run a bench, again if a switch was held up: in so short a round, all that is sent meanwhile may be lost."""
    for attempt in range(4):
        try:
            return asyncio.run(bench(size, folder / str(attempt), told.append))
        except packets.NotSteered as error:
            told.append(str(error))
    raise AssertionError(f"a switch steers nothing whenever it is tried: {told}")


@needs_root
@needs_softswitch
def test_a_short_round_on_real_switches(tmp_path: Path) -> None:
    told: list[str] = []
    size = Size(rounds=1, seconds=0.1, entries=2000, single_writes=50, packets=100_000, offered=(10_000,))
    summary = calm_bench(size, tmp_path, told)
    found = summary["softswitch"]
    expected = {ratio.name for ratio in RATIOS if "bmv2" not in ratio.name or targets.missing("bmv2") is None}
    assert expected <= set(found)
    assert all(found[name] > 0 for name in expected if "latency" not in name)
    (measured,) = summary["rounds"]
    assert min(measured[PPS][load] for load in (*LOADS, "null", "null again")) > 1000
    assert measured[P50]["softswitch"] > 1  # no switch passes anything on within a microsecond
    assert summary["memory"]["passed_on"] == summary["memory"]["packets"] * 14 // 16
    assert any("round 1 of 1" in line for line in told)


def test_memory_that_grows_is_seen() -> None:
    before = inside.rss_kib()
    kept = bytearray(64 << 20)
    assert inside.rss_kib() - before > len(kept) // 2048


@needs_root
@needs_softswitch
def test_a_switch_that_drops_fails_the_check(tmp_path: Path) -> None:
    programs = packets.Programs(
        *(compile_program(tmp_path, name, HERE / f"{name}.c") for name in ("sender", "announce", "latency")), None
    )

    async def unprovisioned() -> None:
        with Network(tmp_path, 1) as network:
            async with Lab("softswitch", 1, network):
                await asyncio.to_thread(packets.check, "softswitch", packets.Load(network, None), programs)

    with pytest.raises(packets.NotSteered, match=r"softswitch: of \d+ requests none comes out"):
        asyncio.run(unprovisioned())


@needs_root
@needs_softswitch
def test_entries_are_really_written_and_taken_out_again(tmp_path: Path) -> None:
    program = entries.with_large_tables(Program.compiled(), tmp_path)
    requests = entries.prepare(program.schema(), 2500, 10)
    assert [len(part) for part in (requests.batches, requests.emptying, requests.single)] == [3, 3, 10]

    async def written() -> list[int]:
        with Network(tmp_path, 1) as network:
            async with Lab("softswitch", 0, network, program=program) as lab:
                with entries.Writer(lab) as writer:
                    counts = [len(await lab.connection.read_entries())]
                    for request in requests.batches:
                        await asyncio.to_thread(writer.send, [request])
                        counts.append(len(await lab.connection.read_entries()))
                    await asyncio.to_thread(writer.send, requests.emptying)
                    await asyncio.to_thread(writer.singly, requests)
                    return [*counts, len(await lab.connection.read_entries())]

    start, *counts, end = asyncio.run(written())
    assert [count - start for count in counts] == [1000, 2000, 2500]
    assert end == start
