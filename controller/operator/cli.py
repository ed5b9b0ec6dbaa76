"""The `hitless` command: runs a controller, checks what it reads, and talks to a running one.

Exit codes: 0 done, 1 not done (the message says why), 2 wrong usage, 3 no controller answers, 4 a service does not.
"""

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, get_args

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from controller.observe.events import Event
from controller.operator import explanation, invoke, sentences, tables
from controller.operator.authority import authority
from controller.operator.client import Client, NoControllerError, Place, RefusedError, Remote
from controller.operator.documents import CommandResult
from controller.operator.invoke import InvokeError, NoAnswerError
from hitless.files import StateError
from hitless.modes import IN_NETWORK, Mode

DEFAULT_SOCKET = "/run/hitless/controller.sock"
DEFAULT_STATE = "/var/lib/hitless/controller"
NOT_DONE = 1
NO_CONTROLLER = 3
NO_ANSWER = 4
EVENTS_SHOWN = 10
"""Events below the tables of `hitless watch`."""


def _place(context: click.Context, _: click.Parameter, socket_path: Path) -> Place:
    """Where the controller is: in the network if `--api` says so, else at its socket."""
    given = context.find_root().params
    if (url := given.get("api")) is not None:
        return Remote(url, given["tls"], given["token_file"])
    return socket_path


_SOCKET: dict[str, Any] = {
    "type": click.Path(path_type=Path),
    "envvar": "HITLESS_SOCKET",
    "default": DEFAULT_SOCKET,
    "show_default": True,
    "show_envvar": True,
    "help": "The controller's API.",
}
socket_option = click.option("--socket", "socket_path", callback=_place, **_SOCKET)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
force_option = click.option("--force", is_flag=True, help="Even if the instance there cannot serve now.")


def components_option(*, default: tuple[str, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Where the components are."""
    return click.option(
        "--components",
        type=click.Path(path_type=Path),
        multiple=True,
        default=default,
        show_default=True,
        help="Folder of a component, or of components; may be given again.",
    )


class _Group(click.Group):
    """Turns the errors that a user can mend into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NoControllerError as error:
            _fail(str(error), NO_CONTROLLER)
        except (RefusedError, InvokeError) as error:
            _fail(str(error), NOT_DONE)
        except NoAnswerError as error:
            _fail(str(error), NO_ANSWER)


def _fail(message: str, code: int) -> NoReturn:
    if message:
        click.echo(message, err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--api", envvar="HITLESS_API", show_envvar=True, help="A controller in the network: https://HOST:PORT.")
@click.option(
    "--tls",
    type=click.Path(path_type=Path),
    envvar="HITLESS_TLS",
    show_envvar=True,
    help="For --api: folder with ca.crt, and tls.crt and tls.key if they say who you are.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="HITLESS_TOKEN_FILE",
    show_envvar=True,
    help="For --api: file with the token that says who you are.",
)
@click.version_option(package_name="hitless", prog_name="hitless")
def main(api: str | None, tls: Path | None, token_file: Path | None) -> None:
    """Move running serverless functions between edge nodes without losing a request."""


main.add_command(authority)


@main.command("controller")
@click.argument("fabric", type=click.Path(path_type=Path))
@components_option(default=("apps",))
@click.option("--mode", type=click.Choice(get_args(Mode)), default=IN_NETWORK, show_default=True)
@click.option(
    "--tls", type=click.Path(path_type=Path), help="Folder with bus/ and switches/, in place of the fabric file's tls."
)
@click.option("--credentials", type=click.Path(path_type=Path), help="JSON {username, password} for the broker.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=DEFAULT_STATE,
    show_default=True,
    help="Folder for what a restarted controller must know again.",
)
@click.option("--event-log", type=click.Path(path_type=Path), help="File to append every event to, as NDJSON.")
@click.option("--verbose", is_flag=True, help="Log more than decisions.")
@click.option("--socket", "socket_path", **_SOCKET)
def controller_command(
    fabric: Path,
    components: tuple[Path, ...],
    mode: Mode,
    tls: Path | None,
    credentials: Path | None,
    state: Path,
    event_log: Path | None,
    verbose: bool,
    socket_path: Path,
) -> None:
    """Run the controller of a FABRIC file until it is told to end."""
    # grpc and finsy take most of a second to import, which no other command should pay.
    from controller.app import Settings, StartError, run

    settings = Settings(
        fabric=fabric,
        components=components,
        mode=mode,
        tls=tls,
        credentials=credentials,
        state=state,
        event_log=event_log,
        socket=socket_path,
        verbose=verbose,
    )
    try:
        run(settings)
    except StartError as error:
        _fail(str(error), NOT_DONE)


@main.command()
@click.argument("fabric", type=click.Path(path_type=Path))
@components_option(default=())
def check(fabric: Path, components: tuple[Path, ...]) -> None:
    """Check a FABRIC file (and components); nothing is applied."""
    from controller.fabric.file import load, refuse
    from controller.nodes import components as packing
    from controller.nodes import deployments
    from hitless.located import LocatedError

    try:
        checked = load(fabric)
        found = f"{fabric}: fabric {checked.name}: {len(checked.services)} services on {len(checked.nodes)} nodes"
        if components:
            packed = packing.pack_all(components, packing.base_url(checked))
            try:
                deployments.check(checked, packed)
            except deployments.DeploymentError as error:
                refuse(fabric, error.found)
            found += f"; {', '.join(map(str, components))}: {len(packed.all())} components"
    except LocatedError as error:
        _fail(str(error), NOT_DONE)
    click.echo(f"{found}; no mistake found")


@main.command()
@socket_option
@json_option
def status(socket_path: Place, as_json: bool) -> None:
    """Show switches, nodes, services and every instance's rank, as the switch itself sees it."""
    document = Client(socket_path).status()
    if as_json:
        click.echo(document.model_dump_json(indent=2))
    else:
        _console().print(tables.status(document), soft_wrap=True)


@main.command()
@click.argument("service")
@socket_option
@json_option
def explain(service: str, socket_path: Place, as_json: bool) -> None:
    """Show what the ranks of SERVICE's instances are made of, and what speaks for another host, since when."""
    services = Client(socket_path).status().services
    if service not in services:
        _fail(f"no service {service}; services: {', '.join(services)}", NOT_DONE)
    if as_json:
        click.echo(services[service].model_dump_json(indent=2))
    else:
        _console().print(explanation.of(service, services[service]), soft_wrap=True)


@main.command()
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
    never = threading.Event()
    try:
        due = time.monotonic()
        while True:
            action()
            due = max(due + interval, time.monotonic())
            never.wait(due - time.monotonic())
    except KeyboardInterrupt:
        pass


@main.command()
@click.argument("service")
@click.argument("node")
@click.option("--hold", is_flag=True, help="Keep the service there until `hitless release`.")
@force_option
@socket_option
@json_option
def migrate(service: str, node: str, hold: bool, force: bool, socket_path: Place, as_json: bool) -> None:
    """Make NODE the host of SERVICE's new work; let go after the service's dwell."""
    _done(Client(socket_path).migrate(service, node, hold=hold, force=force), as_json)


@main.command()
@click.argument("service")
@click.argument("node")
@force_option
@socket_option
@json_option
def pin(service: str, node: str, force: bool, socket_path: Place, as_json: bool) -> None:
    """Keep SERVICE on NODE until `hitless release` (the same as `migrate --hold`)."""
    _done(Client(socket_path).migrate(service, node, hold=True, force=force), as_json)


@main.command("invoke")
@click.argument("service")
@click.argument("body", required=False)
@click.option("--file", "source", type=click.File("rb"), help="Send what is in this file; - is standard input.")
@click.option("--timeout", type=click.FloatRange(min=0.001), default=5.0, show_default=True, help="Seconds to wait.")
@click.option("--path", default="/", show_default=True, help="Over HTTP: path and query.")
@click.option("--method", show_default="POST with a body, else GET", help="Over HTTP.")
@click.option("--from", "host", help="The host of a fabric on this machine that calls.")
@socket_option
@json_option
def invoke_command(
    service: str,
    body: str | None,
    source: BinaryIO | None,
    timeout: float,
    path: str,
    method: str | None,
    host: str | None,
    socket_path: Place,
    as_json: bool,
) -> None:
    """Call SERVICE once with BODY, and print what it answers.

    A UDP service is called by the invocation protocol, a TCP service over HTTP. Where the fabric is laid out on this
    machine (make up, make run), the call comes from its first host that is no node; elsewhere from here.

    Exit code 1: the answer is an error, whose status is told on standard error; or the call cannot be made. 4: there is
    no answer in time.
    """
    if body is not None and source is not None:
        raise click.UsageError("give BODY or --file, not both")
    content = source.read() if source is not None else body.encode() if body is not None else None
    status = Client(socket_path).status()
    place = invoke.place_of(service, status)
    namespaces = invoke.read_namespaces(socket_path.parent) if isinstance(socket_path, Path) else {}
    if (caller := invoke.client_host(namespaces, status, host)) is not None:
        invoke.enter(namespaces[caller], caller)
    answer = invoke.call(service, place, content, path=path, method=method, timeout_s=timeout)
    if as_json:
        click.echo(answer.document())
    else:
        click.echo(answer.body, nl=False)
    if answer.failed:
        _fail("" if as_json else f"status {answer.status}", NOT_DONE)


@main.command()
@click.argument("service")
@socket_option
@json_option
def release(service: str, socket_path: Place, as_json: bool) -> None:
    """Let go of SERVICE, which moves nothing by itself."""
    _done(Client(socket_path).release(service), as_json)


@main.command()
@click.argument("service")
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it take new work again.")
@socket_option
@json_option
def drain(service: str, node: str, undo: bool, socket_path: Place, as_json: bool) -> None:
    """Let SERVICE on NODE take no new work, and finish what it has."""
    _done(Client(socket_path).drain(service, node, undo=undo), as_json)


@main.command()
@click.argument("node")
@socket_option
@json_option
def exclude(node: str, socket_path: Place, as_json: bool) -> None:
    """Send nothing to NODE and take no report of it, whatever it claims, until `hitless include`.

    It is as if its instances were not there: new work and flows go elsewhere, TCP connections to it are reset, and
    services that were held there are let go of. A restarted controller knows of it.
    """
    _done(Client(socket_path).exclude(node), as_json)


@main.command()
@click.argument("node")
@socket_option
@json_option
def include(node: str, socket_path: Place, as_json: bool) -> None:
    """Let an excluded NODE serve again, from its next report on."""
    _done(Client(socket_path).include(node), as_json)


@main.command()
@click.argument("component")
@click.argument("node", required=False)
@socket_option
@json_option
def restart(component: str, node: str | None, socket_path: Place, as_json: bool) -> None:
    """Launch COMPONENT anew on NODE, or on all nodes that have it, one after the other.

    A function's new launch comes up beside the one that serves, which then finishes what it has: no request is lost. A
    component that is BROKEN is tried again at once. Waits until the new launches are up.
    """
    result = Client(socket_path).restart(component, node)
    click.echo(result.encode() if as_json else result.message, err=result.error is not None and not as_json)
    if result.error is not None:
        sys.exit(NOT_DONE)


@main.command("rotate-keys")
@click.argument("service", required=False)
@socket_option
@json_option
def rotate_keys(service: str | None, socket_path: Place, as_json: bool) -> None:
    """Give the instances of SERVICE, or of all services, new keys for their reports, without a gap."""
    result = Client(socket_path).rotate_keys(service)
    _done(result, as_json)
    if not result.instances:
        sys.exit(NOT_DONE)


@main.command()
@click.argument("name")
@click.option("--file", "path", type=click.Path(path_type=Path), required=True, help="The fabric file's api.tokens.")
@click.option("--remove", is_flag=True, help="Let NAME's token be good for nothing.")
def token(name: str, path: Path, remove: bool) -> None:
    """Make a token for NAME, in place of its last one, and print it: it is kept nowhere else.

    What it may do, api.read and api.operate of the fabric file say.
    """
    from controller.operator.roles import TokenFile

    try:
        if not remove:
            click.echo(TokenFile(path).make(name))
        elif not TokenFile(path).remove(name):
            _fail(f"{name} has no token in {path}", NOT_DONE)
    except StateError as error:
        _fail(str(error), NOT_DONE)


def _done(result: CommandResult, as_json: bool) -> None:
    click.echo(result.encode() if as_json else result.message)


@main.command()
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
