"""``python -m experiments bench``: what ``make bench`` calls."""

from __future__ import annotations

import asyncio

import click

from experiments.bench.ratios import Round
from experiments.bench.run import run
from topologies.testbed import REPOSITORY_ROOT

FOLDER = REPOSITORY_ROOT / "results" / "bench"


@click.command("bench")
@click.option("--rounds", type=click.IntRange(1, 1000), default=11, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=0.5, show_default=True, help="of each load")
def bench_command(rounds: int, seconds: float) -> None:
    """Packets a second of steered requests: softswitch, BMv2 and a null forwarder (a minute)."""
    summary = asyncio.run(run(rounds, seconds, FOLDER, tell))
    click.echo()
    for name, value in summary["softswitch"].items():
        click.echo(f"{name:28} {value:.2f}")
    if not summary["valid"]:
        click.echo("invalid: the null forwarder differs from itself; run it again on a calmer machine")
    click.echo(f"results: {FOLDER / 'summary.json'}")


def tell(number: int, rates: Round) -> None:
    """A line for a round."""
    click.echo(f"round {number + 1}: " + ", ".join(f"{name} {rate / 1000:.0f}k" for name, rate in rates.items()))
