"""The controller as a process: reads what it is given, starts and ends its parts, serves its API and its repository."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
from aiohttp import web

from controller.controller import Controller
from controller.fabric.file import Fabric, load
from controller.nodes import components as repository
from controller.nodes import deployments
from controller.nodes.bus import Broker
from controller.observe.events import EventLog
from controller.observe.prometheus import MetricsError, MetricsServer
from controller.operator import api
from controller.state import KeyFile, StateError, StateFile
from controller.steering.interface import Mode
from controller.switches.session import SwitchError
from hitless.located import LocatedError

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
    logging.getLogger("controller").setLevel(logging.DEBUG if settings.verbose else logging.INFO)
    logging.getLogger("mqtt").setLevel(logging.CRITICAL)  # what it has to say of a lost session, the bus says better
    try:
        asyncio.run(_main(settings))
    except (LocatedError, deployments.DeploymentError, StateError, SwitchError, api.ApiError, MetricsError) as error:
        raise StartError(str(error)) from error


async def _main(settings: Settings) -> None:
    asyncio.get_running_loop().set_exception_handler(_unread)
    fabric = load(settings.fabric)
    components = repository.pack_all(settings.components, repository.base_url(fabric))
    deployments.check(fabric, components, at_nodes_addresses=settings.mode == "reconfiguration")
    broker = _broker(fabric, settings.credentials)
    with api.listen(settings.socket) as listener, _event_log(settings.event_log) as events:
        controller = Controller(
            fabric,
            settings.mode,
            components,
            broker,
            StateFile(settings.state / "state.json"),
            KeyFile(settings.state / "keys.json"),
            events,
        )
        place = fabric.repository
        files = repository.application(components.values())
        try:
            async with (
                _serving(files, lambda runner: web.TCPSite(runner, place.host, place.port), "the repository"),
                _serving(api.application(controller), lambda runner: web.SockSite(runner, listener), "the API"),
                MetricsServer(fabric.metrics.host, fabric.metrics.port, controller.collector()),
            ):
                log.info("fabric %s, %s: commands at %s", fabric.name, settings.mode, settings.socket)
                await _until_told_to_end(controller)
        finally:
            settings.socket.unlink(missing_ok=True)


def _unread(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A session that is lost while it is ended leaves an error that nobody waits for any more, which is no news."""
    if not isinstance(context.get("exception"), aiomqtt.MqttError):
        loop.default_exception_handler(context)


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
        return EventLog(path)
    except OSError as error:
        raise StartError(f"--event-log {path}: {error.strerror}") from error


def _broker(fabric: Fabric, credentials: Path | None) -> Broker:
    """The broker, and the controller's identity there: from the command line, or else as the fabric file says."""
    place = fabric.broker
    path = credentials or (Path(place.credentials) if place.credentials else None)
    if path is None:
        return Broker(place.host, place.port)
    try:
        identity = json.loads(path.read_text())
        return Broker(place.host, place.port, str(identity["username"]), str(identity["password"]))
    except OSError as error:
        raise StartError(f"credentials {path}: {error.strerror}: give the right file with --credentials") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StartError(f'credentials {path}: expected JSON {{"username": ..., "password": ...}}') from error
