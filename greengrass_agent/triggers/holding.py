"""The triggers of one service, for as long as this node has them: a session under the service's trigger identity, calls
for what comes in it, and points in time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from greengrass_agent.triggers import events, firing
from greengrass_agent.triggers.calling import Caller, Place
from greengrass_agent.triggers.events import Message
from greengrass_agent.triggers.firing import Fire, Skip
from greengrass_agent.triggers.progress import Bury, Call, End, InOrder, Outcome, Progress, Settle, Step, Wait
from greengrass_agent.triggers.settings import Take
from greengrass_agent.triggers.standby import HEARTBEAT_S
from hitless.cancellation import until_one_ends
from hitless.component.schedule import Schedule, ScheduleError
from hitless.component.topic_filters import matches
from hitless.component.triggers import Trigger
from hitless.mqtt import topics
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.identities import trigger_identity
from hitless.mqtt.messages import MessageError, TriggerFired, TriggerHolder
from hitless.mqtt.session import Announcement, Delivery, Kept, Publication, Session, Subscription
from hitless.wire import cloudevents
from hitless.wire.cloudevents import CloudEventError, Event

log = logging.getLogger(__name__)

IN_FLIGHT = 16
"""Messages of a service's triggers that are being delivered at least once at a time; the others wait at the broker."""
WAITING = 256
"""Events at most once that are being delivered at a time; one more is dropped."""
EXPIRES_S = 86_400
"""How long the broker keeps what comes while no node takes the triggers."""
LEAVE_S = 2.0
"""How long calls that are under way may still be answered when the triggers are left to another node."""
AGAIN_S = 1.0
"""Before something is tried again for which the broker is needed."""
CLOCK_S = 15.0
"""How often the clock is looked at again, which may have been set."""


class Record:
    """What a process remembers of a service's triggers between two times that it holds them."""

    def __init__(self) -> None:
        self.fired: dict[str, TriggerFired] = {}
        """By trigger; the broker may have forgotten it in a restart."""
        self.dropped = 0
        """Events that were given up."""


class Holding:
    """One time that this node holds a service's triggers."""

    def __init__(
        self, node: str, broker: BrokerSettings, take: Take, place: Callable[[], Place], caller: Caller, record: Record
    ) -> None:
        """`place` says where the service is called now."""
        self._node = node
        self._take = take
        self._place = place
        self._caller = caller
        self._record = record
        self._token = secrets.token_hex(8)
        self._order = InOrder()
        self._tasks: dict[asyncio.Task[None], bool] = {}
        """Events that are being delivered, and whether at most once."""
        self._chores: set[asyncio.Task[None]] = set()
        """What goes on beside them."""
        self._leaving = False
        self._known = asyncio.Event()
        """Set when what the broker keeps of the schedules has come."""
        service = take.service
        self._holder = topics.TRIGGER_HOLDER.of(service=service)
        self._session = Session(
            broker,
            without_broker="no trigger fires",
            identifier=trigger_identity(service),
            subscriptions=[*self._subscriptions()],
            announcement=Announcement(self._holder, self._word(online=True), self._word(online=False)),
            kept=Kept(EXPIRES_S, IN_FLIGHT, self._came),
        )

    async def run(self) -> tuple[str, bool]:
        """Take the triggers until the session is lost; returns why, and whether there was one."""
        for work in (self._beat(), *(self._fire(name) for name in self._take.triggers)):
            self._chore(work)
        try:
            return await self._session.once(), self._known.is_set()
        finally:
            ending = [*self._tasks, *self._chores]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def leave(self) -> None:
        """Begin with nothing more, and give what is under way some time. Then cancel `run`."""
        self._leaving = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S)

    async def forget(self) -> None:
        """Have the broker keep nothing more for the triggers. Then cancel `run`."""
        await self._session.unsubscribe(self._filters())
        for name in self._take.triggers:
            await self._session.confirm(Publication(self._fired_topic(name), b"", retain=True))

    def _filters(self) -> list[str]:
        return [trigger.topic for trigger in self._take.triggers.values() if trigger.topic is not None]

    def _subscriptions(self) -> list[Subscription]:
        service = self._take.service
        called = [
            Subscription(one.topic, 1 if one.delivery == "at_least_once" else 0, kept_again=False)
            for one in self._take.triggers.values()
            if one.topic is not None
        ]
        # The holder's topic is the last one: our own word there comes after all that the broker has kept.
        return [
            *called,
            Subscription(topics.TRIGGER_FIRED.filter(service=service), 0),
            Subscription(self._holder, 0),
        ]

    def _word(self, *, online: bool) -> bytes:
        return TriggerHolder(
            node=self._node,
            online=online,
            token=self._token,
            topics=tuple(self._filters()),
            dropped=self._record.dropped,
        ).encode()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._session.publish(Publication(self._holder, self._word(online=True), retain=True))

    def _came(self, delivery: Delivery) -> None:
        service = self._take.service
        if delivery.topic == self._holder:
            self._heard(delivery.payload)
        elif found := topics.TRIGGER_FIRED.match(delivery.topic):
            self._learned(found["trigger"], delivery.payload)
        else:
            found_trigger = next(
                (
                    (name, one)
                    for name, one in self._take.triggers.items()
                    if one.topic is not None and matches(one.topic, delivery.topic)
                ),
                None,
            )
            if delivery.number:
                self._order.came(delivery.number)
            if found_trigger is None:  # of a subscription that an earlier configuration had
                self._acknowledge(delivery.number)
                return
            name, trigger = found_trigger
            if self._leaving and delivery.number:  # it comes again, to the next holder
                return
            if not delivery.number and sum(self._tasks.values()) >= WAITING:
                self._count(
                    f"{service}.{name}: message of {delivery.topic!r} is dropped", f"{WAITING} events are under way"
                )
                return
            self._start(self._deliver(name, trigger, delivery), at_most_once=trigger.delivery == "at_most_once")

    def _heard(self, payload: bytes) -> None:
        """The broker has kept the word of the holder before us, and sends us our own."""
        try:
            holder = TriggerHolder.decode(payload)
        except MessageError as error:
            log.warning("%s: %s", self._holder, error)
            return
        if holder.token == self._token:
            if not self._known.is_set():
                log.info("%s: its triggers are taken here", self._take.service)
            self._known.set()
            return
        stale = set(holder.topics) - set(self._filters())
        self._chore(self._session.unsubscribe(sorted(stale)))

    def _learned(self, trigger: str, payload: bytes) -> None:
        if not payload:
            return
        try:
            fired = TriggerFired.decode(payload)
        except MessageError as error:
            log.warning("%s.%s: %s", self._take.service, trigger, error)
            return
        own = self._record.fired.get(trigger)
        if own is None or own.schedule != fired.schedule or own.at < fired.at:
            self._record.fired[trigger] = fired

    def _start(self, work: Coroutine[Any, Any, None], *, at_most_once: bool) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks[task] = at_most_once
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # whatever it is, the other events go on
            log.exception("triggers of %s", self._take.service)

    async def _deliver(self, name: str, trigger: Trigger, delivery: Delivery) -> None:
        message = Message(delivery.topic, delivery.payload, delivery.content_type, delivery.properties)
        progress = Progress(trigger)
        what = f"{self._take.service}.{name}: message of {delivery.topic!r}"
        event: Event = {}
        try:
            event = events.of_message(self._take.service, name, message, str(uuid.uuid4()), time.time())
            step = progress.begin()
        except CloudEventError as error:
            step = progress.refused(f"no CloudEvent: {error}")

        async def settle() -> bool:
            self._acknowledge(delivery.number)
            return True

        def dead(reason: str) -> Publication:
            assert trigger.dead_letter is not None
            why = (*delivery.properties, ("deadletterreason", reason), ("deadlettertopic", delivery.topic))
            return Publication(
                trigger.dead_letter, delivery.payload, content_type=delivery.content_type, properties=why
            )

        await self._carry_out(progress, step, what, trigger, event, message, settle, dead)

    async def _fire(self, name: str) -> None:
        trigger = self._take.triggers[name]
        try:
            schedule = trigger.times
        except ScheduleError as error:
            log.error("%s.%s: it does not fire: %s", self._take.service, name, error)
            return
        if schedule is None:
            return
        await self._known.wait()
        said = f"{trigger.schedule} {trigger.time_zone}"
        fired = self._record.fired.get(name)
        if fired is None or fired.schedule != said:
            # From now on: when a schedule was first said, nothing has been missed yet.
            self._record.fired[name] = TriggerFired(at=time.time(), schedule=said)
            await self._write(name, self._record.fired[name])
        while True:
            await self._fire_next(name, trigger, schedule, said)

    async def _fire_next(self, name: str, trigger: Trigger, schedule: Schedule, said: str) -> None:
        dealt_with, now = self._record.fired[name].at, time.time()
        match firing.decide(schedule, dealt_with, now, caught_up=trigger.missed == "caught_up"):
            case firing.Wait(until):
                await asyncio.sleep(min(CLOCK_S, max(0.001, until - now)))
            case Skip(at, missed):
                log.warning("%s.%s: %d times were missed, and are skipped", self._take.service, name, missed)
                if not await self._write(name, TriggerFired(at=at, schedule=said)):
                    await asyncio.sleep(AGAIN_S)
            case Fire(at, passed_over):
                if passed_over:
                    log.warning("%s.%s: one call for %d times", self._take.service, name, passed_over + 1)
                if self._leaving:
                    await asyncio.sleep(LEAVE_S)
                    return
                ended = asyncio.Event()
                self._start(self._call_for(name, trigger, at, said, ended), at_most_once=False)
                await ended.wait()
                if self._record.fired[name].at < at:  # the broker may have gone
                    await asyncio.sleep(AGAIN_S)

    async def _call_for(self, name: str, trigger: Trigger, at: float, said: str, ended: asyncio.Event) -> None:
        event = events.of_time(self._take.service, name, at)

        async def settle() -> bool:
            return await self._write(name, TriggerFired(at=at, schedule=said))

        def dead(reason: str) -> Publication:
            assert trigger.dead_letter is not None
            why = (("deadletterreason", reason),)
            return Publication(
                trigger.dead_letter,
                cloudevents.to_json(event),
                content_type=cloudevents.STRUCTURED,
                properties=why,
            )

        progress = Progress(trigger)
        what = f"{self._take.service}.{name}: {event['time']}"
        try:
            await self._carry_out(progress, progress.begin(), what, trigger, event, None, settle, dead)
        finally:
            ended.set()

    async def _write(self, name: str, fired: TriggerFired) -> bool:
        """Have the broker, and so the next holder, know up to when a schedule's times are dealt with."""
        if not await self._session.confirm(Publication(self._fired_topic(name), fired.encode(), retain=True)):
            return False
        self._record.fired[name] = fired
        return True

    def _fired_topic(self, name: str) -> str:
        return topics.TRIGGER_FIRED.of(service=self._take.service, trigger=name)

    async def _carry_out(
        self,
        progress: Progress,
        step: Step,
        what: str,
        trigger: Trigger,
        event: Event,
        message: Message | None,
        settle: Callable[[], Awaitable[bool]],
        dead: Callable[[str], Publication],
    ) -> None:
        """Take the steps that an event's progress wants."""
        while True:
            match step:
                case Settle():
                    step = progress.settled(await settle())
                case Call():
                    place = self._place()
                    request = events.request(event, place.protocol, self._take.payload_format, message)
                    status, failure = await self._caller.call(place, trigger.path, request)
                    if failure is None and status >= 400:
                        log.warning("%s was answered with %d", what, status)
                    step = progress.answered(failure)
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                    step = progress.waited()
                case Bury(reason):
                    step = progress.buried(await self._session.confirm(dead(reason)))
                case End(outcome, reason):
                    if outcome in (Outcome.DROPPED, Outcome.BURIED):
                        where = f"put on {trigger.dead_letter}" if outcome is Outcome.BURIED else "dropped"
                        self._count(f"{what} is {where}", reason or "")
                    return

    def _count(self, what: str, reason: str) -> None:
        self._record.dropped += 1
        log.error("%s: %s (%d so far)", what, reason, self._record.dropped)

    def _acknowledge(self, number: int) -> None:
        if number:
            for ready in self._order.settle(number):
                self._session.acknowledge(ready)


async def hold(holding: Holding, leave: asyncio.Event, forget: asyncio.Event) -> tuple[str, bool]:
    """Hold a service's triggers until the session is lost, or until told to leave or forget them.

    Returns why, and whether there was a session.
    """
    result = ("left to others", True)

    async def run() -> None:
        nonlocal result
        result = await holding.run()

    async def told(event: asyncio.Event, what: Callable[[], Awaitable[None]]) -> None:
        await event.wait()
        await what()

    await until_one_ends(run(), told(leave, holding.leave), told(forget, holding.forget))
    return result
