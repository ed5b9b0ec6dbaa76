"""wrk, which calls an HTTP service as fast as it is answered: how it is started, and what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass

COMMAND = ("wrk", "--threads", "1", "--connections", "4", "--duration", "86400s", "--latency")
"""Until it is interrupted, which makes it print its report."""


@dataclass(frozen=True)
class WrkResult:
    """What wrk said: requests that were answered, and every kind of error it knows."""

    requests: int
    errors: int
    output: str


def read_wrk(output: str) -> WrkResult:
    """Read wrk's report; it prints an error line only where there were errors. Raises ValueError if it is none."""
    total = re.search(r"(\d+) requests in", output)
    if total is None:
        raise ValueError(f"not a report of wrk: {output}")
    errors = sum(
        int(number) for line in re.findall(r"Socket errors: (.*)", output) for number in re.findall(r"\d+", line)
    )
    errors += sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    return WrkResult(int(total[1]), errors, output)
