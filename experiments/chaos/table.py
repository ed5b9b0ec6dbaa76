"""What is printed of a chaos run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from experiments.chaos.updates import Compared
from experiments.chaos.verdict import Fault, Row
from experiments.migration.table import cell

COLUMNS = ("faults", "requests", "lost", "failed", "dupl.", "explained", "unexpl.", "wrong", "p50 ms", "max ms")


def faults_table(rows: Sequence[Row]) -> Table:
    """A line for each kind of fault. The last two columns are the time to recover, from the end of the cause."""
    table = Table(title="requests by the fault they came during", title_justify="left")
    table.add_column("kind")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        numbers = (row.faults, row.requests, row.lost, row.failed, row.duplicated, row.explained, row.unexplained)
        table.add_row(row.kind, *map(str, (*numbers, row.wrong)), cell(row.median_ms), cell(row.longest_ms))
    return table


def updates_table(compared: Sequence[Compared]) -> Table:
    """What a change of version costs in latency."""
    table = Table(title="p99 of 100 ms, median: after a change of version and steady", title_justify="left")
    table.add_column("service")
    for name in ("changes", "after ms", "steady ms", "ratio"):
        table.add_column(name, justify="right")
    for one in compared:
        table.add_row(
            one.service,
            str(one.changes),
            *(cell(value) for value in (one.after_ms, one.steady_ms)),
            str(one.ratio or "-"),
        )
    return table


def line(at_s: float, fault: Fault, requests: int, lost: int, failed: int) -> str:
    """What is said of a fault when it is over; the counts are of the run so far."""
    if fault.recovered_ns is None:
        how = "not recovered"
    else:
        how = f"recovered after {(fault.recovered_ns - fault.ended_ns) / 1e6:.0f} ms"
    text = (
        f"{at_s:6.0f}  #{fault.number:<4} {fault.kind:<18} {fault.target or '-':<8} on {fault.node or '-':<8} {how:<26}"
    )
    text += f" {requests:8} requests {lost:4} lost {failed:4} failed"
    return text + "".join(f"\n        {wrong}" for wrong in fault.wrong)
