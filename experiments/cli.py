"""``python -m experiments``: what ``make run``, ``make experiment``, ``make bench`` and ``make chaos`` call."""

from __future__ import annotations

import click

from experiments.bench.command import bench_command
from experiments.bench.idle import idle_command
from experiments.chaos.command import chaos_command
from experiments.congestion.command import congestion_command
from experiments.connections.command import connections_command
from experiments.detection.command import detection_command
from experiments.failures.command import failures_command
from experiments.migration.command import run_command
from experiments.migration.folder import judge_command as judge_run_command
from experiments.moves.command import migration_command
from experiments.policies.command import judge_command, policies_command


@click.group()
def main() -> None:
    """Experiments that anyone can repeat: each writes its raw rows beside its report."""


for command in (
    run_command,
    judge_run_command,
    policies_command,
    judge_command,
    detection_command,
    failures_command,
    migration_command,
    congestion_command,
    connections_command,
    bench_command,
    idle_command,
    chaos_command,
):
    main.add_command(command)
