"""The controller as a process: reads what it is given, starts and ends its parts, serves its API and its repository."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from controller.controller import Controller
from controller.fabric.file import Fabric, load
from controller.keys.files import KeyFile
from controller.nodes import components as packing
from controller.nodes import deployments, repository
from controller.observe.log import EventLog
from controller.operator import api, sentences
from controller.operator.prometheus import FabricCollector, MetricsError, MetricsServer
from controller.state import StateFile
from controller.steering.modes import MODES
from controller.switches.session import SwitchError
from hitless.files import StateError
from hitless.located import LocatedError
from hitless.modes import Mode
from hitless.mqtt.broker import BrokerSettings, Credentials, CredentialsError

log = logging.getLogger(__name__)

SHUTDOWN_S = 0.2
"""What requests in progress get when the controller ends."""


class StartError(Exception):
    """The controller cannot start; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line of `hitless controller`."""

    fabric: Path
    components: Path
    mode: Mode
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
    except (LocatedError, deployments.DeploymentError, StateError, SwitchError, api.ApiError, MetricsError) as error:
        raise StartError(str(error)) from error


async def _main(settings: Settings) -> None:
    fabric = load(settings.fabric)
    components = packing.pack_all(settings.components, packing.base_url(fabric))
    strategy = MODES[settings.mode]
    deployments.check(fabric, components, at_node_addresses=strategy.at_node_addresses)
    broker = _broker(fabric, settings.credentials)
    with api.listen(settings.socket) as listener, _event_log(settings.event_log) as events:
        controller = Controller(
            fabric,
            strategy,
            components,
            broker,
            StateFile(settings.state / "state.json"),
            KeyFile(settings.state / "keys.json"),
            events,
        )
        place = fabric.repository
        files = repository.application(components.all())
        calls = api.application(controller.status, controller.commands, events)
        try:
            async with (
                _serving(files, lambda runner: web.TCPSite(runner, place.host, place.port), "the repository"),
                _serving(calls, lambda runner: web.SockSite(runner, listener), "the API"),
                MetricsServer(fabric.metrics.host, fabric.metrics.port, FabricCollector(controller.steering)),
            ):
                log.info("fabric %s, %s: commands at %s", fabric.name, settings.mode, settings.socket)
                await _until_told_to_end(controller)
        finally:
            settings.socket.unlink(missing_ok=True)


async def _until_told_to_end(controller: Controller) -> None:
    """Run the controller until a signal cancels it."""
    work = asyncio.create_task(controller.run())
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
    return BrokerSettings.of(place.host, place.port, identity)
