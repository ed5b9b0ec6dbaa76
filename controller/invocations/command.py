"""The commands about invocations: the process that takes them, and the dead letters that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from controller.invocations.store import DeadLetters, StoreError
from controller.operator.client import Place
from controller.operator.options import NOT_DONE, fail, json_option, socket_option

QUEUE = click.argument("queue", type=click.Path(path_type=Path))


@click.command("lambda-api")
@click.argument("configuration", type=click.Path(path_type=Path))
@click.option("--from", "host", help="The host of a fabric on this machine that calls.")
@socket_option
def lambda_api(configuration: Path, host: str | None, socket_path: Place) -> None:
    """Serve Lambda's Invoke API, and asynchronous requests over HTTP, as CONFIGURATION says (docs/invoke.md).

    Functions are those of the controller's fabric, unless CONFIGURATION lists them. Where the fabric is laid out on
    this machine (make up, make run), calls come from its first host that is no node; elsewhere from here.
    """
    from controller.invocations.process import StartError, run
    from controller.invocations.settings import SettingsError, load

    try:
        run(load(configuration), socket_path, host)
    except (SettingsError, StartError) as error:
        fail(str(error), NOT_DONE)


@click.group("dead-letters")
def dead_letters() -> None:
    """Invocations that were given up: list them, try them again, or discard them."""


@dead_letters.command("list")
@QUEUE
@json_option
def list_command(queue: Path, as_json: bool) -> None:
    """List the dead letters of the folder QUEUE, the oldest first."""
    for invocation, state in _letters(queue).all():
        if as_json:
            click.echo(json.dumps({"invocation": invocation.model_dump(), "state": state.model_dump()}))
            continue
        at = datetime.fromtimestamp(invocation.accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = str(state.end.condition) if state.end is not None else "Unknown"
        if state.given_up:
            condition += f", not told: {', '.join(state.given_up)}"
        problem = " ".join(state.trouble.split())
        click.echo(f"{invocation.id}  {at}  {invocation.service}  {condition}  {problem:.120}")


@dead_letters.command("retry")
@QUEUE
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
def retry_command(queue: Path, ids: tuple[str, ...], everything: bool) -> None:
    """Have dead letters of the folder QUEUE executed again, with the same request id.

    The process that works on the queue takes them within a second; if there is none, the next one does.
    """
    _each(queue, ids, everything, lambda letters, number: letters.retry(number), "is tried again")


@dead_letters.command("discard")
@QUEUE
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
def discard_command(queue: Path, ids: tuple[str, ...], everything: bool) -> None:
    """Remove dead letters of the folder QUEUE for good."""
    _each(queue, ids, everything, lambda letters, number: letters.discard(number), "is discarded")


def _each(
    queue: Path, ids: tuple[str, ...], everything: bool, act: Callable[[DeadLetters, str], bool], what: str
) -> None:
    if everything == bool(ids):
        raise click.UsageError("give ids of dead letters, or --all")
    letters = _letters(queue)
    chosen = [invocation.id for invocation, _ in letters.all()] if everything else list(ids)
    missing = []
    for number in chosen:
        try:
            done = act(letters, number)
        except OSError as error:
            fail(f"{number}: {error.strerror}", NOT_DONE)
        if done:
            click.echo(f"{number} {what}")
        else:
            missing.append(number)
    if missing:
        fail(f"no dead letter {', '.join(missing)} in {queue}", NOT_DONE)


def _letters(queue: Path) -> DeadLetters:
    try:
        return DeadLetters(queue)
    except StoreError as error:
        fail(str(error), NOT_DONE)
