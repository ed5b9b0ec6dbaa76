"""The process of the Invoke API: reads its configuration, goes to the network it calls from, and serves."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from controller.invocations.calling import Caller
from controller.invocations.functions import FromController, Function, Functions, Listed
from controller.invocations.keeper import Keeper
from controller.invocations.server import Door
from controller.invocations.settings import Mqtt, Settings
from controller.invocations.signature import KeysError, access_keys
from controller.invocations.store import Store, StoreError
from controller.operator import invoke
from controller.operator.client import Client, Place
from controller.operator.documents import CalledAt
from hitless.mqtt.broker import BrokerSettings, Credentials, CredentialsError
from hitless.mqtt.session import Session
from hitless.tls import Identity, TlsError
from hitless.wire.sealed_event import SealError, key_of

log = logging.getLogger(__name__)

SHUTDOWN_S = 5.0
Value = TypeVar("Value")


class StartError(Exception):
    """It cannot start; the message says why and what to do."""


def run(settings: Settings, controller: Place, host: str | None) -> None:
    """Serve until a signal comes. `host` is one of the fabric's, if that is laid out on this machine, to call from.

    Raises StartError, NoControllerError and InvokeError.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    key = _secret(settings.invoke_key, "invoke_key", key_of)
    keys = None
    if settings.access_keys is not None:
        keys = _secret(settings.access_keys, "access_keys", access_keys)
    else:
        log.warning("no access_keys: whoever is on this machine may invoke every function")
    place = settings.listen
    try:
        # Before another network is entered: who calls is here.
        listener = socket.create_server((place.address, place.port))
    except OSError as error:
        raise StartError(f"cannot listen at {place.address}:{place.port}: {error.strerror}") from error
    with listener:
        functions = _functions(settings, controller, host)
        try:
            store = Store(settings.queue)
        except StoreError as error:
            raise StartError(str(error)) from error
        try:
            asyncio.run(_serve(settings, functions, store, listener, key, keys))
        finally:
            store.close()


def _functions(settings: Settings, controller: Place, host: str | None) -> Functions:
    if settings.functions is not None:
        return Listed(
            tuple(
                Function(name, one.component, one.version, CalledAt.model_validate(one.model_dump()))
                for name, one in settings.functions.items()
            )
        )
    client = Client(controller)
    status = client.status()
    namespaces = invoke.read_namespaces(controller.parent) if isinstance(controller, Path) else {}
    if (caller := invoke.client_host(namespaces, status, host)) is not None:
        invoke.enter(namespaces[caller], caller)
        log.info("calling from host %s", caller)
    return FromController(client, status)


async def _serve(
    settings: Settings,
    functions: Functions,
    store: Store,
    listener: socket.socket,
    key: bytes,
    keys: dict[str, str] | None,
) -> None:
    async with AsyncExitStack() as parts:
        caller = await parts.enter_async_context(Caller(key, settings.timeout))
        notices = settings.on_failure
        mqtt = None if notices.mqtt is None else (_session(notices.mqtt), notices.mqtt.topic)
        keeper = Keeper(
            store, settings.policy(), functions, caller, settings.region, mqtt=mqtt, service=notices.service
        )
        door = Door(
            functions,
            caller,
            keeper,
            store,
            access_keys=keys,
            callbacks=frozenset(settings.callbacks),
            region=settings.region,
        )
        # A body is what was signed and what the service gets, so it is not unpacked here.
        runner = web.AppRunner(door.application(), access_log=None, shutdown_timeout=SHUTDOWN_S, auto_decompress=False)
        await runner.setup()
        parts.push_async_callback(runner.cleanup)
        try:
            context = (
                Identity(settings.tls).server(client_certificate=ssl.CERT_NONE) if settings.tls is not None else None
            )
        except TlsError as error:
            raise StartError(f"tls: {error}") from error
        await web.SockSite(runner, listener, ssl_context=context).start()
        address, port = listener.getsockname()[:2]
        log.info("Lambda's Invoke API at http%s://%s:%d", "s" if context is not None else "", address, port)
        work = asyncio.create_task(_work(keeper, mqtt[0] if mqtt is not None else None))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            log.info("ending; what waits is on disk")


async def _work(keeper: Keeper, session: Session | None) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run())
        if session is not None:
            tasks.create_task(session.run())


def _session(place: Mqtt) -> Session:
    try:
        identity = Credentials.read(place.credentials) if place.credentials is not None else None
    except CredentialsError as error:
        raise StartError(f"on_failure.mqtt: {error}") from error
    broker = BrokerSettings.of(place.host, place.port, identity, tls=place.tls)
    return Session(broker, without_broker="dead letters are told later")


def _secret(path: Path, what: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(path.read_text())
    except OSError as error:
        raise StartError(f"{what} {path}: {error.strerror}") from error
    except (SealError, KeysError, UnicodeDecodeError) as error:
        reason = "this is no text" if isinstance(error, UnicodeDecodeError) else error
        raise StartError(f"{what} {path}: {reason}") from None
