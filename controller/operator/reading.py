"""The command `hitless logs`: what components print, read from afar."""

import click

from controller.operator import durations
from controller.operator.client import Client, Place
from controller.operator.documents import LogEntry, LogLine
from controller.operator.options import json_option, socket_option

LAST_LINES = 100
_CONTROL = dict.fromkeys((*range(9), *range(10, 32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
"""What a component prints may not steer the terminal of who reads it."""


class _Duration(click.ParamType[int]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return durations.seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("component")
@click.option("--follow", "-f", is_flag=True, help="Go on with each new line until Ctrl-C.")
@click.option("--node", help="Of this node alone.")
@click.option("--since", type=_Duration(), help="What was written so long ago at most, such as 10m.")
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    help=f"Lines of each node.  [default: {LAST_LINES}, or all of --since]",
)
@socket_option
@json_option
def logs(
    component: str,
    follow: bool,
    node: str | None,
    since: int | None,
    tail: int | None,
    socket_path: Place,
    as_json: bool,
) -> None:
    """Show what COMPONENT prints on its nodes, each line with its time and level.

    The component of a service may be named by the service. A line that says no level is INFO, one that says no time has
    that at which it was written. Whoever follows and reads too slowly is told how many lines were left out.
    """
    if tail is None and since is None:
        tail = LAST_LINES
    if since is not None and tail is not None:
        raise click.UsageError("give --since or --tail, not both")
    try:
        for entry in Client(socket_path).logs(component, node, since_s=since, tail=tail, follow=follow):
            click.echo(entry.encode() if as_json else sentence(entry))
    except KeyboardInterrupt:
        pass


def sentence(entry: LogEntry) -> str:
    """An entry as a line for people."""
    if isinstance(entry, LogLine):
        return f"{entry.time} {entry.node} {entry.level:<8} {entry.text.translate(_CONTROL)}"
    return f"({entry.node}: {entry.what})"
