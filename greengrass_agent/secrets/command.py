"""`python -m greengrass_agent.secrets`: put, list and remove the secrets of a node, on the node and by its owner."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from greengrass_agent.config import ConfigError, load
from greengrass_agent.secrets.secret import ARN, CURRENT, MAX_VALUE_BYTES, NAME, PREVIOUS, STAGE, SecretError
from greengrass_agent.secrets.store import SecretStore
from hitless.files import StateError


def _matching(pattern: re.Pattern[str], what: str) -> click.ParamType[str]:
    class Matching(click.ParamType[str]):
        name = what

        def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
            if not pattern.fullmatch(value):
                self.fail(f"expected {what}", param, ctx)
            return value

    return Matching()


_CONFIG = click.option(
    "--config", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The agent's configuration."
)
_NAME = click.argument("name", type=_matching(NAME, "a name of letters, digits and / _ + = . @ -"))


@click.group()
def main() -> None:
    """Secrets of this node, for components that `accessControl` lets have them. The agent need not be restarted."""


@main.command()
@_NAME
@_CONFIG
@click.option("--from", "source", metavar="FILE", type=click.File("rb"), help="Where the value is; without it, stdin.")
@click.option("--binary", is_flag=True, help="Bytes, which components get as secretBinary; otherwise text in UTF-8.")
@click.option("--arn", type=_matching(ARN, "the ARN of a secret"), help="As recipes name it; by default made of NAME.")
@click.option("--stage", default=CURRENT, type=_matching(STAGE, "a label"), help=f"Its label, {CURRENT} by default.")
def put(name: str, config: Path, source: BinaryIO | None, binary: bool, arn: str | None, stage: str) -> None:
    """Keep a value, as the newest version of the secret NAME.

    The line break that ends a text is not part of it.
    """
    if stage == PREVIOUS:
        raise click.BadParameter(f"{PREVIOUS} is what was {CURRENT} before", param_hint="--stage")
    value = _value(source, binary)
    with _errors():
        kept = _store(config).put(
            name, value, "binary" if binary else "string", arn=arn, stage=stage, now=int(time.time())
        )
    click.echo(f"{name}: version {kept.id} is {', '.join(kept.stages)}")


@main.command("list")
@_CONFIG
def show(config: Path) -> None:
    """The secrets and their versions, without what they hold."""
    with _errors():
        known = _store(config).all()
    for name, secret in sorted(known.items()):
        click.echo(f"{name}  {secret.arn}")
        for version in secret.versions:
            created = datetime.fromtimestamp(version.created, UTC).isoformat(timespec="seconds")
            click.echo(f"  {version.id}  {created}  {version.kind}  {', '.join(version.stages)}")


@main.command()
@_NAME
@_CONFIG
def remove(name: str, config: Path) -> None:
    """Forget the secret NAME and all its versions. Components that have asked for it keep what they were told."""
    with _errors():
        _store(config).remove(name)


def _store(config: Path) -> SecretStore:
    settings = load(config)
    return SecretStore(settings.root, settings.secrets_key_path)


def _value(source: BinaryIO | None, binary: bool) -> bytes:
    if source is None and sys.stdin.isatty() and not binary:
        value = click.prompt("value", hide_input=True, confirmation_prompt=True).encode()
    else:
        value = (source or sys.stdin.buffer).read(MAX_VALUE_BYTES + 2)
        if not binary:
            value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise click.ClickException("the value is empty: give it on stdin, or in a file by --from")
    if len(value) > MAX_VALUE_BYTES:
        raise click.ClickException(f"the value has more than {MAX_VALUE_BYTES} bytes, which is what a secret may have")
    if not binary:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise click.ClickException("the value is no text in UTF-8: give --binary if it is bytes") from None
    return bytes(value)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, SecretError, StateError, OSError) as error:
        raise click.ClickException(str(error)) from None
