"""The gateway's bench compares figures of one round only, and takes no report of failed requests."""

import pytest

from experiments.bench.gateway import BARE, FRONT, GATEWAY, Round, WrkFailed, all_served, summary, table
from experiments.wrk import WrkReport, read_wrk

REPORT = """Running 1s test @ http://127.0.0.1:18480/
  Latency Distribution
     50%  284.00us
     75%  310.00us
     90%    1.02ms
     99%    2.32ms
  25574 requests in 1.00s, 5.1MB read
Requests/sec:  25574.74
"""


def one(slower: float = 1.0) -> Round:
    return {
        name: {"a_second": a_second / slower, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "cpu_us": 50.0 * slower, **more}
        for name, a_second, p50_ms, more in (
            (GATEWAY, 6000.0, 0.3, {"worker_us": 25.0 * slower}),
            (FRONT, 15_000.0, 0.1, {}),
            (BARE, 10_000.0, 0.2, {}),
        )
    }


def test_a_slow_moment_of_the_machine_changes_no_ratio() -> None:
    ratios = summary([one(), one(3), one()])["ratios"]
    assert (ratios["gateway_vs_bare"], ratios["gateway_vs_bare_worst"], ratios["front_vs_bare"]) == (0.6, 0.6, 1.5)
    assert (ratios["gateway_cpu_vs_bare"], ratios["front_cpu_vs_bare_worst"]) == (1.5, 1)
    assert (ratios["gateway_adds_p50_ms"], ratios["gateway_adds_p99_ms"]) == (0.1, 0.2)


def test_the_worst_round_is_beside_the_median() -> None:
    slow = {**one(), GATEWAY: {"a_second": 3000.0, "p50_ms": 0.9, "p99_ms": 5.0, "cpu_us": 50.0, "worker_us": 25.0}}
    found = summary([one(), one(), slow])
    ratios = found["ratios"]
    assert (ratios["gateway_vs_bare"], ratios["gateway_vs_bare_worst"]) == (0.6, 0.3)
    assert (ratios["gateway_adds_p50_ms"], ratios["gateway_adds_p50_ms_worst"]) == (0.1, 0.7)
    assert "| `gateway_vs_bare`                |   0.60 |  0.30 |" in table(found)


def test_a_report_of_wrk_is_read() -> None:
    assert read_wrk(REPORT) == all_served(
        WrkReport(25574, 0, 25574.74, pytest.approx(0.284), 2.32, REPORT)  # type: ignore[arg-type]
    )
    with pytest.raises(ValueError, match="not a report"):
        read_wrk("unable to connect to 127.0.0.1:18480")


@pytest.mark.parametrize(
    ("line", "errors"),
    [("  Non-2xx or 3xx responses: 7", 7), ("  Socket errors: connect 0, read 1, write 0, timeout 2", 3)],
)
def test_failed_requests_are_no_result(line: str, errors: int) -> None:
    with pytest.raises(WrkFailed, match=f"wrk met {errors} errors"):
        all_served(read_wrk(REPORT + line))
