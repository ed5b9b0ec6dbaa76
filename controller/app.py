"""The controller as a process: reads what it is given, starts and ends its parts, serves its API and its repository."""

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web
from prometheus_client import Metric
from prometheus_client.registry import Collector

from controller.authority.plan import Realm
from controller.authority.watch import CertificateWatch, Peer
from controller.controller import Controller
from controller.deploying import Deploying
from controller.fabric import additions
from controller.fabric.file import Fabric, load, refuse
from controller.keys.files import KeyFile
from controller.nodes import components as packing
from controller.nodes import deployments, repository
from controller.nodes.components import Component, Library
from controller.nodes.deployed import Deployed
from controller.observe.log import EventLog
from controller.operator import api, sentences
from controller.operator.prometheus import FabricCollector, MetricsError, MetricsServer
from controller.operator.roles import guard
from controller.running import Running
from controller.state import StateFile
from controller.steering.modes import MODES
from controller.switches.session import SwitchError
from hitless.files import StateError
from hitless.located import LocatedError
from hitless.modes import Mode
from hitless.mqtt.broker import BrokerSettings, Credentials, CredentialsError
from hitless.tls import Identity, TlsError

log = logging.getLogger(__name__)

SHUTDOWN_S = 0.2
"""What requests in progress get when the controller ends."""


class StartError(Exception):
    """The controller cannot start; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line of `hitless controller`."""

    fabric: Path
    components: tuple[Path, ...]
    """Folders."""
    mode: Mode
    tls: Path | None
    credentials: Path | None
    state: Path
    event_log: Path | None
    socket: Path
    verbose: bool


def run(settings: Settings) -> None:
    """Run a controller until SIGINT or SIGTERM. Raises StartError."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s")
    for ours in ("controller", "hitless"):
        logging.getLogger(ours).setLevel(logging.DEBUG if settings.verbose else logging.INFO)
    try:
        asyncio.run(_main(settings))
    except (LocatedError, StateError, SwitchError, api.ApiError, MetricsError) as error:
        raise StartError(str(error)) from error


async def _main(settings: Settings) -> None:
    fabric = _with_tls(load(settings.fabric), settings.tls)
    url, deployed = packing.base_url(fabric), Deployed(settings.state)
    components = deployed.library(packing.pack_all(settings.components, url), url)
    fabric = _with_services(fabric, components, deployed)
    strategy = MODES[settings.mode]
    try:
        deployments.check(fabric, components, at_node_addresses=strategy.at_node_addresses)
    except deployments.DeploymentError as error:
        refuse(settings.fabric, error.found)
    broker = _broker(fabric, settings.credentials)
    trust = _trust(fabric)
    with api.listen(settings.socket) as listener, _event_log(settings.event_log) as events:
        state_file, key_file = StateFile(settings.state / "state.json"), KeyFile(settings.state / "keys.json")

        def make(fabric: Fabric, components: Library) -> Controller:
            return Controller(fabric, strategy, components, broker, state_file, key_file, events, trust.watch)

        running = Running(make, fabric, components)
        deploying = Deploying(running, deployed, events)
        try:
            async with AsyncExitStack() as parts:
                for part in _parts(fabric, trust, running, deploying, events, listener):
                    await parts.enter_async_context(part)
                log.info("fabric %s, %s: commands at %s", fabric.name, settings.mode, settings.socket)
                await _until_told_to_end(running)
        finally:
            settings.socket.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Trust:
    """Whom the controller's servers let in; None: they do not speak TLS."""

    nodes_only: ssl.SSLContext | None
    anyone: ssl.SSLContext | None
    """Who shows no certificate needs a token."""
    watch: CertificateWatch


def _trust(fabric: Fabric) -> _Trust:
    """The certificates that a fabric names. Raises StartError."""
    own: dict[str, Identity] = {}
    peers: list[Peer] = []
    nodes_only = anyone = None
    try:
        if fabric.tls.bus is not None:
            bus = own["controller (bus)"] = Identity(Path(fabric.tls.bus))
            nodes_only, anyone = bus.server(), bus.server(client_certificate=ssl.CERT_OPTIONAL)
            peers.append(Peer("broker", fabric.broker.host, fabric.broker.port, bus))
        if fabric.tls.switches is not None:
            switches = own["controller (switches)"] = Identity(Path(fabric.tls.switches))
            switches.client()
            for name, spec in fabric.switches.items():
                host, _, port = spec.p4runtime.rpartition(":")
                if host != "unix":
                    peers.append(Peer(f"switch {name}", host, int(port), switches))
    except TlsError as error:
        raise StartError(f"{error}: hitless authority makes them") from error
    servers = [context for context in (nodes_only, anyone) if context is not None]
    return _Trust(nodes_only, anyone, CertificateWatch(own, peers, servers))


def _parts(
    fabric: Fabric,
    trust: _Trust,
    running: Running,
    deploying: Deploying,
    events: EventLog,
    listener: socket.socket,
) -> Iterator[AbstractAsyncContextManager[object]]:
    """What the controller serves, and to whom."""

    def components() -> Iterable[Component]:
        return running.library.all()

    place, files = fabric.repository, repository.application(components)
    yield _serving(
        files,
        lambda runner: web.TCPSite(runner, place.host, place.port, ssl_context=trust.nodes_only),
        "the repository",
    )
    calls = partial(api.application, running.status, running.commands, deploying, events)
    yield _serving(calls(), lambda runner: web.SockSite(runner, listener), "the API")
    if (remote := fabric.api) is not None:
        yield _serving(
            calls(guard(remote)),
            lambda runner: web.TCPSite(runner, remote.host, remote.port, ssl_context=trust.anyone),
            "the API over the network",
        )
    yield MetricsServer(fabric.metrics.host, fabric.metrics.port, _OfTheRunning(running, trust.watch))


class _OfTheRunning(Collector):
    """The metrics of whichever controller runs."""

    def __init__(self, running: Running, certificates: CertificateWatch) -> None:
        self._running = running
        self._certificates = certificates

    def collect(self) -> Iterable[Metric]:
        """Called by the Prometheus library for each scrape."""
        return FabricCollector(self._running.controller.steering, self._certificates).collect()


def _with_services(fabric: Fabric, components: Library, deployed: Deployed) -> Fabric:
    """The fabric with the services that `hitless deploy` has added, as far as the fabric file leaves them room."""
    for name, entry in deployed.services().items():
        if name in fabric.services:
            log.info("service %s stands in the fabric file by now, as it is there", name)
        elif entry.get("component") not in components:
            log.error("service %s is left out: its component %s is not there", name, entry.get("component"))
        else:
            try:
                fabric = additions.with_service(fabric, name, entry)
            except additions.AdditionError as error:
                log.error("service %s, which was deployed, is left out: %s", name, error)
    return fabric


async def _until_told_to_end(running: Running) -> None:
    """Run controllers until a signal cancels it."""
    work = asyncio.create_task(running.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        log.info("ending; switches and nodes go on as they are")


@asynccontextmanager
async def _serving(
    application: web.Application, site: Callable[[web.AppRunner], web.BaseSite], what: str
) -> AsyncIterator[None]:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        place = site(runner)
        try:
            await place.start()
        except OSError as error:
            raise StartError(f"cannot serve {what} at {place.name}: {error.strerror or error}") from error
        yield
    finally:
        await runner.cleanup()


def _event_log(path: Path | None) -> EventLog:
    try:
        return EventLog(sentences.describe, path)
    except OSError as error:
        raise StartError(f"--event-log {path}: {error.strerror}") from error


def _broker(fabric: Fabric, credentials: Path | None) -> BrokerSettings:
    """The broker, and the controller's identity there: from the command line, or else as the fabric file says."""
    place = fabric.broker
    path = credentials or (Path(place.credentials) if place.credentials else None)
    try:
        identity = Credentials.read(path) if path is not None else None
    except CredentialsError as error:
        raise StartError(f"{error}: give the right file with --credentials") from error
    if fabric.tls.bus is None:
        log.warning("no tls.bus in the fabric file: keys and jobs cross the network in clear (docs/security.md)")
        return BrokerSettings.of(place.host, place.port, identity)
    return BrokerSettings.of(place.host, place.port, identity, tls=Path(fabric.tls.bus))


def _with_tls(fabric: Fabric, folder: Path | None) -> Fabric:
    """The fabric with certificates from the command line, or else as the file says."""
    if folder is not None:
        given = {realm.value: str(folder / realm) for realm in Realm}
        fabric = fabric.model_copy(update={"tls": fabric.tls.model_copy(update=given)})
    return fabric
