"""The `hitless` commands that show: status, explain, watch, events."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from controller.observe.events import Event
from controller.operator import explanation, sentences, tables
from controller.operator.client import Client, NoControllerError, Place
from controller.operator.options import NOT_DONE, fail, json_option, socket_option

EVENTS_SHOWN = 10
"""Events below the tables of `hitless watch`."""


@click.command()
@socket_option
@json_option
def status(socket_path: Place, as_json: bool) -> None:
    """Show switches, nodes, services and every instance's rank, as the switch itself sees it."""
    document = Client(socket_path).status()
    if as_json:
        click.echo(document.model_dump_json(indent=2))
    else:
        _console().print(tables.status(document), soft_wrap=True)


@click.command()
@click.argument("service")
@socket_option
@json_option
def explain(service: str, socket_path: Place, as_json: bool) -> None:
    """Show what the ranks of SERVICE's instances are made of, and what speaks for another host, since when."""
    services = Client(socket_path).status().services
    if service not in services:
        fail(f"no service {service}; services: {', '.join(services)}", NOT_DONE)
    if as_json:
        click.echo(services[service].model_dump_json(indent=2))
    else:
        _console().print(explanation.of(service, services[service]), soft_wrap=True)


@click.command()
@click.option("--interval", type=click.FloatRange(min=0.05), default=1.0, show_default=True, help="Seconds.")
@socket_option
@json_option
def watch(interval: float, socket_path: Place, as_json: bool) -> None:
    """Show the status, and what happens, again and again until Ctrl-C."""
    client = Client(socket_path)
    if as_json:
        _until_interrupted(lambda: click.echo(client.status().encode()), interval)
        return
    console = _console()
    if not console.is_terminal:
        _until_interrupted(Lines(client, console).look, interval)
        return
    with Live(console=console, auto_refresh=False) as live:

        def refresh() -> None:
            try:
                document = client.status()
                events = [_line(event) for event in client.events(max(0, document.last_event - EVENTS_SHOWN))]
            except NoControllerError as error:
                live.update(Text(str(error), "red"), refresh=True)
            else:
                live.update(tables.watched(document, events), refresh=True)

        _until_interrupted(refresh, interval)


class Lines:
    """What `hitless watch` prints where it cannot draw over what it has printed: the status, then what happens."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client, self._console = client, console
        self._told: int | None = None

    def look(self) -> None:
        """Print the status when it is seen for the first time, and each event after it."""
        if self._told is None:
            document = self._client.status()
            self._console.print(tables.status(document), soft_wrap=True)
            self._told = max(0, document.last_event - EVENTS_SHOWN)
        for event in self._client.events(self._told):
            click.echo(_line(event))
            self._told = event.seq


def _until_interrupted(action: Callable[[], None], interval: float) -> None:
    # The exception alone may be lost: Python ignores one that is raised in a destructor.
    interrupted = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        due = time.monotonic()
        while not interrupted.is_set():
            action()
            due = max(due + interval, time.monotonic())
            interrupted.wait(due - time.monotonic())
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, before)


@click.command()
@click.option("--follow", is_flag=True, help="Go on with each new event until Ctrl-C.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Only events after this number.")
@socket_option
@json_option
def events(follow: bool, since: int, socket_path: Place, as_json: bool) -> None:
    """Show what has happened: moves and why, deployments, commands, endpoints, switches, nodes."""
    try:
        for event in Client(socket_path).events(since, follow=follow):
            click.echo(event.encode() if as_json else _line(event))
    except KeyboardInterrupt:
        pass


def _line(event: Event) -> str:
    # Events carry the machine's monotonic time; people want the clock on the wall.
    age_s = (time.monotonic_ns() - event.time_ns) / 1e9
    clock = datetime.fromtimestamp(time.time() - age_s, UTC).astimezone()
    return f"{event.seq:>5} {clock:%H:%M:%S}.{clock.microsecond // 1000:03d} {sentences.sentence(event)}"


def _console() -> Console:
    # Without a terminal nothing may be cut off or wrapped: someone reads or greps it.
    console = Console()
    return console if console.is_terminal else Console(width=200)
