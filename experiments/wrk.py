"""wrk, which calls an HTTP service as fast as it is answered: how it is started, and what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass

COMMAND = ("wrk", "--threads", "1", "--connections", "4", "--duration", "86400s", "--latency")
"""Until it is interrupted, which makes it print its report."""
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class WrkReport:
    """What wrk said: requests that were answered, every kind of error it knows, answers a second, and latencies.

    These are None without `--latency`.
    """

    requests: int
    errors: int
    a_second: float
    p50_ms: float | None
    p99_ms: float | None
    output: str


def read_wrk(output: str) -> WrkReport:
    """Read wrk's report; it prints an error line only where there were errors. Raises ValueError if it is none."""
    total = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if total is None or rate is None:
        raise ValueError(f"not a report of wrk: {output.strip()}")
    errors = sum(
        int(number) for line in re.findall(r"Socket errors: (.*)", output) for number in re.findall(r"\d+", line)
    )
    errors += sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    quantiles = {
        share: float(value) * _MS[unit] for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", output)
    }
    return WrkReport(int(total[1]), errors, float(rate[1]), quantiles.get("50"), quantiles.get("99"), output)
