"""What the `hitless` commands have in common: where the controller is, what is printed, exit codes."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from controller.operator.client import Place, Remote

DEFAULT_SOCKET = "/run/hitless/controller.sock"
NOT_DONE = 1
NO_CONTROLLER = 3
NO_ANSWER = 4


def _place(context: click.Context, _: click.Parameter, socket_path: Path) -> Place:
    """Where the controller is: in the network if `--api` says so, else at its socket."""
    given = context.find_root().params
    if (url := given.get("api")) is not None:
        return Remote(url, given["tls"], given["token_file"])
    return socket_path


SOCKET: dict[str, Any] = {
    # Who may use it is asked when it is used: the default is of no concern to who names an address.
    "type": click.Path(path_type=Path, readable=False),
    "envvar": "HITLESS_SOCKET",
    "default": DEFAULT_SOCKET,
    "show_default": True,
    "show_envvar": True,
    "help": "The controller's API.",
}
socket_option = click.option("--socket", "socket_path", callback=_place, **SOCKET)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
force_option = click.option("--force", is_flag=True, help="Even if the instance there cannot serve now.")


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    if message:
        click.echo(message, err=True)
    sys.exit(code)
