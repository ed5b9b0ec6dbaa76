"""The short table at the end of a run, and two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Summary = Mapping[str, Any]
COLUMNS = ("p50", "p99", "p999", "max", "n")
FIELDS = {
    "report_to_first_steered_ms": "report\nto first\nsteered",
    "trigger_to_first_steered_ms": "trigger\nto first\nsteered",
    "trigger_to_last_on_old_ms": "trigger\nto last\non old",
    "longest_gap_ms": "longest\ngap",
    "requests_after_report_on_old_node": "requests\non old\nafter report",
}


def latency_table(summaries: Sequence[Summary]) -> Table:
    """Latency by phase, a block of rows for each run."""
    table = Table(title="latency of the application from the intended start, ms", title_justify="left")
    table.add_column("mode")
    table.add_column("phase")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for summary in summaries:
        for phase, row in summary["latency_ms"].items():
            table.add_row(summary["mode"], phase, *(cell(row[name]) for name in COLUMNS))
        table.add_section()
    return table


def migration_table(summaries: Sequence[Summary]) -> Table:
    """Every migration of the runs."""
    table = Table(title="migrations: times in ms", title_justify="left")
    for name in ("mode", "at s", "service", "from", "to", "reason"):
        table.add_column(name)
    for name in FIELDS.values():
        table.add_column(name, justify="right")
    for summary in summaries:
        for move in summary["migrations"]:
            table.add_row(
                summary["mode"],
                cell(move["at_s"]),
                move["service"],
                move["from"],
                move["to"],
                move["reason"] or "-",
                *(cell(move[field]) for field in FIELDS),
            )
        table.add_section()
    return table


def verdict(summary: Summary) -> str:
    """One sentence on what happened to the requests."""
    bound = summary["lost_rate_bound_95"]
    confidence = "" if bound is None else f" (at 95 % confidence fewer than {bound:.2%} are)"
    late = f"; a noisy run: the generator was {summary['generator_late_p99_ms']} ms late at its p99"
    return (
        f"{summary['target']}, {summary['mode']}: of {summary['requests']} requests "
        f"{summary['lost']} lost{confidence}, {summary['failed']} failed, {summary['duplicated']} duplicated; "
        f"{len(summary['migrations'])} migrations{late if summary['noisy'] else ''}"
    )


def cell(value: object) -> str:
    """A value for a table; - for none."""
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
