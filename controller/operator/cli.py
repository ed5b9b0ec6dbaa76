"""The `hitless` command: runs a controller, checks what it reads, and talks to a running one.

Exit codes: 0 done, 1 not done (the message says why), 2 wrong usage, 3 no controller answers, 4 a service does not.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, get_args

import click

from controller.invocations.command import dead_letters, lambda_api
from controller.operator import invoke
from controller.operator.authority import authority
from controller.operator.client import Client, NoControllerError, Place, RefusedError
from controller.operator.documents import CommandResult
from controller.operator.invoke import InvokeError, NoAnswerError
from controller.operator.options import (
    NO_ANSWER,
    NO_CONTROLLER,
    NOT_DONE,
    SOCKET,
    fail,
    force_option,
    json_option,
    socket_option,
)
from controller.operator.reading import logs
from controller.operator.sending import deploy, undeploy
from controller.operator.showing import events, explain, status, watch
from controller.operator.starting import new
from hitless.files import StateError
from hitless.modes import IN_NETWORK, Mode

DEFAULT_STATE = "/var/lib/hitless/controller"


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
            fail(str(error), NO_CONTROLLER)
        except (RefusedError, InvokeError) as error:
            fail(str(error), NOT_DONE)
        except NoAnswerError as error:
            fail(str(error), NO_ANSWER)


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


for command in (
    *(authority, status, explain, watch, events, new, deploy, undeploy, logs),
    *(lambda_api, dead_letters),
):
    main.add_command(command)


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
@click.option("--socket", "socket_path", **SOCKET)
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
        fail(str(error), NOT_DONE)


@main.command()
@click.argument("fabric", type=click.Path(path_type=Path))
@components_option(default=())
def check(fabric: Path, components: tuple[Path, ...]) -> None:
    """Check a FABRIC file (and components); nothing is applied.

    What components need that the fabric does not have, or that only some nodes may have, is told but no mistake.
    """
    from controller.fabric.file import load, refuse
    from controller.nodes import components as packing
    from controller.nodes import deployments
    from hitless.located import LocatedError

    try:
        checked = load(fabric)
        told: list[str] = []
        found = f"{fabric}: fabric {checked.name}: {len(checked.services)} services on {len(checked.nodes)} nodes"
        if components:
            packed = packing.pack_all(components, packing.base_url(checked))
            try:
                deployments.check(checked, packed)
            except deployments.DeploymentError as error:
                refuse(fabric, error.found)
            found += f"; {', '.join(map(str, components))}: {len(packed.all())} components"
            told = packing.lacking(packed)
    except LocatedError as error:
        fail(str(error), NOT_DONE)
    click.echo(f"{found}; no mistake found")
    for line in told:
        click.echo(line)


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
        fail("" if as_json else f"status {answer.status}", NOT_DONE)


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
            fail(f"{name} has no token in {path}", NOT_DONE)
    except StateError as error:
        fail(str(error), NOT_DONE)


def _done(result: CommandResult, as_json: bool) -> None:
    click.echo(result.encode() if as_json else result.message)
