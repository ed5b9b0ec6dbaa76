"""The command `hitless deploy`: gives a component's folder to a running controller, and shows how its rollout goes."""

import base64
import sys
from pathlib import Path

import click

from controller.operator import reading
from controller.operator.client import Client, Place
from controller.operator.documents import DeployResult, DeployStep
from controller.operator.options import NOT_DONE, fail, json_option, socket_option
from controller.operator.requests import Deploy
from hitless.component.endpoint import ServiceProtocol
from hitless.located import LocatedError

SENT = "s3://sent"
"""Where artefacts are while they are sent: an s3 address means the file of that name, wherever it is."""
PROTOCOLS: dict[str, ServiceProtocol] = {"http": "tcp", "udp": "udp"}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--node", "nodes", multiple=True, help="Of a new service: a node that gets an instance. Several times.")
@click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    help="Of a new service.  [default: `protocol` in the recipe's configuration, else http]",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Of a new service.  [default: a free one from 8000 or 9000 on]"
)
@socket_option
@json_option
def deploy(
    folder: Path, nodes: tuple[str, ...], protocol: str | None, port: int | None, socket_path: Place, as_json: bool
) -> None:
    """Roll the component in FOLDER out, and wait until it serves.

    It is checked as `hitless check` does. A service that names the component gets it as a new version, beside the one
    that serves, without losing a request. Where none does, a service is added on the nodes of --node, with ids, address
    and port that are free, and what is to stand in the fabric file to keep it is printed.

    What does not come up on every node is taken back everywhere, and the end of its log is shown. The rollout goes on
    if this command is ended.

    Exit code 1: it does not run everywhere, or was refused; the message says why.
    """
    try:
        body = packed(folder, nodes, PROTOCOLS[protocol] if protocol is not None else None, port)
    except LocatedError as error:
        fail(str(error), NOT_DONE)
    result = None
    for entry in Client(socket_path).deploy(body):
        if as_json:
            click.echo(entry.encode())
        elif isinstance(entry, DeployStep):
            click.echo(_step(entry))
        if isinstance(entry, DeployResult):
            result = entry
    if result is None:
        fail("the controller ended meanwhile: hitless status tells how far it is", NOT_DONE)
    if not as_json:
        _show(result)
    if result.error is not None:
        sys.exit(NOT_DONE)


@click.command()
@click.argument("service")
@socket_option
@json_option
def undeploy(service: str, socket_path: Place, as_json: bool) -> None:
    """Take away SERVICE, which `hitless deploy` has added, and its component where no other service has it.

    Its nodes end what they have of it. What stands in the fabric file goes with its entry there.
    """
    result = Client(socket_path).undeploy(service)
    click.echo(result.encode() if as_json else result.message)


def packed(folder: Path, nodes: tuple[str, ...], protocol: ServiceProtocol | None, port: int | None) -> Deploy:
    """The component in a folder as it is sent. Raises RecipeError for mistakes in it, with their lines."""
    from controller.nodes import kit
    from controller.nodes.components import pack
    from hitless.component import placeholders
    from hitless.component.recipe import RecipeError
    from hitless.located import read

    component = pack(folder, SENT)
    source = read(component.source, RecipeError)
    return Deploy(
        recipe=component.document.decode(),
        files={name: base64.b64encode(content).decode() for name, content in component.files.items()},
        next_patch=placeholders.takes_next_patch(source, kit.tree(component.source).names),
        nodes=list(nodes),
        protocol=protocol,
        port=port,
    )


def _step(step: DeployStep) -> str:
    details = f": {step.details}" if step.details else ""
    return f"{step.node}: {step.state}{details}"


def _show(result: DeployResult) -> None:
    for need in result.told:
        click.echo(need)
    for line in result.log:
        click.echo(reading.sentence(line), err=True)
    click.echo(result.message, err=result.error is not None)
    if result.keep is not None:
        click.echo(
            "This controller's state keeps the service. To have it for good, put it into the fabric file:\n\n"
            + result.keep,
            nl=False,
        )
