"""`hitless authority`: makes the certificates of a fabric, renews them, and says how long they last."""

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table

from controller.authority.plan import Authority, Issued, Realm, Subject, days, subjects, trusted
from controller.authority.store import AuthorityError, AuthorityStore, Done
from controller.fabric.file import load
from hitless.located import LocatedError
from hitless.mqtt.access import access_list
from hitless.mqtt.identities import BROKER, CONTROLLER

DEFAULT_FOLDER = "/etc/hitless/authority"
NOT_DONE = 1
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    envvar="HITLESS_AUTHORITY",
    default=DEFAULT_FOLDER,
    show_default=True,
    show_envvar=True,
    help="The authority's own folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Group(click.Group):
    """Turns the errors that a user can mend into one message and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AuthorityError, LocatedError) as error:
            _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(NOT_DONE)


@click.group(cls=_Group)
def authority() -> None:
    """Make and renew the certificates by which the parts of a fabric know one another.

    What is issued to NAME lies in FOLDER/issued/NAME, to be copied to its machine; nothing else of FOLDER leaves this
    one. Who copies a renewed folder need start nothing again but BMv2: it is read at the next connection.
    """


@authority.command()
@click.argument("fabric", type=click.Path(path_type=Path))
@folder_option
@json_option
def init(fabric: Path, folder: Path, as_json: bool) -> None:
    """Make what a FABRIC file needs and is not there yet: for broker, controller, nodes and switches."""
    wanted = subjects(load(fabric))
    _tell(AuthorityStore(folder).bring_up_to_date(wanted, time.time()), as_json)


@authority.command()
@click.argument("name")
@click.option("--host", "hosts", multiple=True, help="A name or address at which NAME serves; repeatable.")
@folder_option
@json_option
def issue(name: str, hosts: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Make a certificate on the bus for NAME: a client, an operator, a program that uses the API."""
    if not NAME.fullmatch(name):
        _fail(f"{name!r} cannot be a name: expected at most 64 letters, digits, _ - .")
    if name in (CONTROLLER, BROKER):
        _fail(f"{name} is a part of the fabric: hitless authority init FABRIC makes its certificate")
    store = _existing(folder)
    _tell(store.bring_up_to_date([Subject(Realm.BUS, name, hosts)], time.time()), as_json)


@authority.command()
@click.option("--all", "rotate", is_flag=True, help="Give everyone a new key and certificate, due or not.")
@click.option("--new-authority", is_flag=True, help="Make the authorities' successors now; they issue in 90 days.")
@folder_option
@json_option
def renew(rotate: bool, new_authority: bool, folder: Path, as_json: bool) -> None:
    """Renew what has less than 30 of its 90 days left. Run it every day."""
    store = _existing(folder)
    now = time.time()
    done = [store.new_authority(realm, now) for realm in Realm if new_authority and store.authorities(realm)]
    _tell(done + store.bring_up_to_date((), now, rotate=rotate), as_json)


@authority.command()
@folder_option
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show who has a certificate, and for how long."""
    store, now = _existing(folder), time.time()
    rows = list(_rows(store, now))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("REALM", "NAME", "SERVES AT", "LEFT"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        left = row["not_after"] - now
        table.add_row(row["realm"], row["name"], ", ".join(row["hosts"]), days(left) if left > 0 else "expired")
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


@authority.command()
@click.argument("fabric", type=click.Path(path_type=Path))
@click.option("--client", "clients", multiple=True, help="Of client-NAME, the NAME; repeatable.")
def access(fabric: Path, clients: tuple[str, ...]) -> None:
    """Print mosquitto's access list (acl_file): who may say and hear what on the bus of a FABRIC."""
    found = load(fabric)
    triggers = {name: service.triggers for name, service in found.services.items()}
    click.echo(access_list(found.nodes, clients, triggers=triggers), nl=False)


def _rows(store: AuthorityStore, now: float) -> Iterator[dict[str, Any]]:
    for realm in Realm:
        for own in trusted(store.authorities(realm), now):
            yield _row(realm, f"(authority {own.id[:8]})", (), own)
        for one in store.issued(realm):
            yield _row(realm, one.subject.name, one.subject.hosts, one)


def _row(realm: Realm, name: str, hosts: Iterable[str], one: Authority | Issued) -> dict[str, Any]:
    return {
        "realm": realm.value,
        "name": name,
        "hosts": list(hosts),
        "not_before": one.not_before,
        "not_after": one.not_after,
    }


def _existing(folder: Path) -> AuthorityStore:
    store = AuthorityStore(folder)
    if not store.there:
        raise AuthorityError(f"no authority in {folder}: make one with hitless authority init FABRIC --folder {folder}")
    return store


def _tell(done: list[Done], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{**asdict(one), "folder": str(one.folder)} for one in done], indent=2))
        return
    for one in done:
        click.echo(f"{one.realm} {one.name}: {one.reason}: {one.folder}".replace("  ", " "))
    if not done:
        click.echo("nothing is due")
