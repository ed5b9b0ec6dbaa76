"""Works for the queue: does what it says, writes down what came of it, and tells who wants to know."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable

from controller.invocations import outcomes, queue
from controller.invocations.calling import INVOCATION_ID, Caller
from controller.invocations.errors import LambdaError
from controller.invocations.functions import Function, Functions, find
from controller.invocations.names import Named
from controller.invocations.outcomes import Reply, TooLongError, UnreachedError
from controller.invocations.queue import Call, Invocation, Queue, Settle, State, Target, Tell
from controller.invocations.store import Store
from hitless.mqtt.client import Publication
from hitless.mqtt.session import Session, SessionError
from hitless.wire.worker_frames import Invoked

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the folder of dead letters to try again is looked into."""
SWEEP_S = 60.0
"""How often results are looked at whose time is up."""
TELL_S = 30.0
"""For the answer to a callback."""
NOTICE = uuid.UUID("6f0b8a52-6a0e-4a5c-9a07-2f5a2c3f6c11")
"""Namespace (RFC 9562) of the request ids of notices: each time that one is told again, its id is the same."""


class Keeper:
    """Keeps the accepted invocations going."""

    def __init__(
        self,
        store: Store,
        policy: queue.Policy,
        functions: Functions,
        caller: Caller,
        region: str,
        *,
        mqtt: tuple[Session, str] | None = None,
        service: str | None = None,
    ) -> None:
        """`mqtt` is the session and topic, `service` the function, that are told of dead letters. Raises OSError."""
        self._store = store
        self._functions = functions
        self._caller = caller
        self._region = region
        self._mqtt = mqtt
        self._service = service
        self._queue = Queue(policy, store.pending(), time.time())
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, invocation: Invocation, payload: bytes) -> None:
        """Have an invocation: once this returns, it is on disk and will be executed.

        Raises QueueFullError, and OSError when it cannot be written.
        """
        state = queue.begin(invocation)
        self._queue.reserve(invocation.size)
        try:
            await asyncio.to_thread(self._store.accept, invocation, payload, state)
        except OSError:
            self._queue.give_back(invocation.size)
            raise
        self._queue.add(invocation, state)
        self._woken.set()

    def find(self, number: str) -> tuple[Invocation, State] | None:
        """An invocation by its id, under way or settled. Raises OSError."""
        return self._queue.get(number) or self._store.find(number)

    async def run(self) -> None:
        """Work until cancelled. What is under way then is done again by the next process."""
        if len(self._queue):
            log.info("%d invocations are left from before", len(self._queue))
        look = sweep = 0.0
        try:
            while True:
                now = time.monotonic()
                if now >= look:
                    look = now + LOOK_S
                    self._take_retries()
                if now >= sweep:
                    sweep = now + SWEEP_S
                    self._sweep()
                for work in self._queue.due(time.time()):
                    task = asyncio.create_task(self._do(work))
                    self._tasks.add(task)
                    task.add_done_callback(self._done)
                at = self._queue.next_time()
                soon = look - now if at is None else min(look - now, at - time.time())
                self._woken.clear()
                try:
                    async with asyncio.timeout(max(0.0, soon)):
                        await self._woken.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an invocation is left as it is until the next start", exc_info=error)

    def _take_retries(self) -> None:
        try:
            for invocation, state in self._store.to_retry(lambda state: queue.revived(state, time.time())):
                log.info("invocation %s of %s is tried again", invocation.id, invocation.service)
                self._queue.add_again(invocation, state)
        except OSError as error:
            log.error("dead letters to try again: %s", error)

    def _sweep(self) -> None:
        try:
            self._store.forget_results(time.time() - self._queue.policy.keep_results)
        except OSError as error:
            log.error("results whose time is up: %s", error)

    async def _do(self, work: queue.Work) -> None:
        found = self._queue.get(work.id)
        assert found is not None
        invocation, state = found
        match work:
            case Call():
                await self._save(work.id, await self._call(invocation, state))
            case Tell(target=target):
                problem = await self._told(invocation, state, target)
                if problem is not None:
                    log.warning("invocation %s: %s is not told: %s", work.id, target, problem)
                await self._save(work.id, queue.told(self._queue.policy, state, target, problem, time.time()))
            case Settle(place=place):
                if place is queue.Place.DEAD:
                    log.error("invocation %s of %s is a dead letter: %s", work.id, invocation.service, state.trouble)
                await self._on_disk(lambda: self._store.settle(work.id, place))
                self._queue.settled(work.id)

    async def _save(self, number: str, state: State) -> None:
        await self._on_disk(lambda: self._store.save(number, state))
        self._queue.saved(number, state)

    async def _on_disk(self, write: Callable[[], None]) -> None:
        """Write, and write again while the disk does not take it: nothing goes on that a crash could undo."""
        wait = 1.0
        while True:
            try:
                await asyncio.to_thread(write)
                return
            except OSError as error:
                log.error("the queue cannot be written: %s: trying again in %g s", error, wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, 60.0)

    async def _call(self, invocation: Invocation, state: State) -> State:
        """Execute it once. Returns what it comes to."""
        reply: Reply | UnreachedError | TooLongError
        try:
            function = await self._function(invocation.service)
            payload = await asyncio.to_thread(self._store.payload, invocation.id)
            if invocation.http is not None:
                reply = await self._caller.request(function, invocation.id, invocation.http, payload)
            else:
                invoked = Invoked(invocation.id, invocation.client_context, invocation.version, invocation.trace)
                reply = await self._caller.event(function, invoked, payload, again=True)
        except (UnreachedError, TooLongError) as error:
            reply = error
        outcome = outcomes.outcome(invocation, reply)
        if isinstance(reply, Reply) and (invocation.http is not None or invocation.callback or reply.status >= 400):
            body = reply.body
            await self._on_disk(lambda: self._store.answered(invocation.id, body))
        if not isinstance(outcome, queue.Succeeded):
            log.warning("invocation %s of %s: %s", invocation.id, invocation.service, outcome.reason)
        return queue.called(self._queue.policy, invocation, state, outcome, time.time())

    async def _function(self, name: str) -> Function:
        """Raises UnreachedError."""
        try:
            function = find(await self._functions.all(), name)
        except LambdaError as error:
            raise UnreachedError(str(error), sent=False) from error
        if function is None:
            raise UnreachedError(f"the fabric has no service {name} now", sent=False)
        return function

    async def _told(self, invocation: Invocation, state: State, target: Target) -> str | None:
        """Tell an end. Returns why that failed."""
        try:
            result = await asyncio.to_thread(self._store.result, invocation.id)
            if target == "callback":
                return await self._call_back(invocation, state, result)
            payload = await asyncio.to_thread(self._store.payload, invocation.id)
            arn = Named(invocation.service, invocation.version).arn(self._region)
            record = outcomes.record(invocation, state, arn, payload, result)
            if target == "mqtt":
                return await self._publish(record)
            return await self._notify(invocation, record)
        except (UnreachedError, TooLongError, OSError) as error:
            return str(error)

    async def _call_back(self, invocation: Invocation, state: State, result: bytes | None) -> str | None:
        assert invocation.callback is not None
        assert state.end is not None
        headers = [(INVOCATION_ID, invocation.id), ("X-Hitless-Status", str(state.end.status))]
        if state.end.succeeded:
            headers.append(("Content-Type", state.end.content_type))
            body = result or b""
        else:
            headers.append(("Content-Type", "application/json"))
            body = json.dumps(outcomes.progress(invocation, state)).encode()
        status = await self._caller.tell(invocation.callback, headers, body, TELL_S)
        return None if 200 <= status < 300 else f"{invocation.callback}: status {status}"

    async def _publish(self, record: bytes) -> str | None:
        if self._mqtt is None:
            return "the configuration names no topic any more"
        session, topic = self._mqtt
        try:
            await session.deliver(Publication(topic, record))
        except SessionError as error:
            return f"broker {session.broker.place}: {error}"
        return None

    async def _notify(self, invocation: Invocation, record: bytes) -> str | None:
        if self._service is None:
            return "the configuration names no service any more"
        function = await self._function(self._service)
        invoked = Invoked(str(uuid.uuid5(NOTICE, invocation.id)))
        reply = await self._caller.event(function, invoked, record, again=True)
        return None if reply.status == 200 else f"{self._service}: status {reply.status}"
