"""The life of one component on a node: Greengrass's component states over its launches. Pure: time is passed in.

A component that serves is changed by make before break: the new launch comes up beside the one that serves, and takes
its place when its workers are warm; one that does not come up leaves no trace but the state. A component that does not
serve has one launch at work at a time: the new one is installed while the old one works, which then ends first.

What happens is told as events; what to do is returned as actions; `deadline` is when `Elapsed` must be told if nothing
happens before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from greengrass_agent.components.launch import Action, Edition, Launch, Phase, Serve, Suspend
from hitless.component.states import ComponentState

ERRORS_TO_BREAK = 3
FORGIVE_S = 600.0
"""A launch that was up for so long has made good the errors before it."""
RETRY_S = 0.5
"""Wait after the first error in a row; doubles with each."""
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Want:
    """The component is to run this edition.

    `again`: if that is what it was to run before, by a new launch. What works is never launched anew only because
    something else that was wanted in its place did not come up.
    """

    edition: Edition
    again: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """What is wanted is to be launched anew, at once, whatever became of it before."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The component is to end.

    `remove`: for good. `halt`: it is FINISHED then, as far as others are concerned, until something is wanted again.
    """

    remove: bool = False
    halt: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """The process of a step has ended."""

    launch: int
    step: str
    code: int


@dataclass(frozen=True, slots=True)
class Unstartable:
    """The process of a step could not be started."""

    launch: int
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reported:
    """A launch says of itself that it runs, or that it cannot go on."""

    launch: int
    errored: bool


@dataclass(frozen=True, slots=True)
class Warm:
    """Workers that can take work, by launch; a launch without any is left out. Nothing while the gateway is away."""

    workers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The deadline has passed."""


@dataclass(frozen=True, slots=True)
class CannotChange:
    """What is wanted cannot be had on this node; what works goes on."""

    reason: str


Event = Want | Restart | Stop | Exited | Unstartable | Reported | Warm | Elapsed | CannotChange


@dataclass(slots=True)
class Lifecycle:
    """One component's machine."""

    state: ComponentState = ComponentState.NEW
    """Of what is wanted: while another edition still works in its place, that one shows in `serving`."""
    error: str | None = None
    """What has gone wrong with what is wanted, for people; None once it is up."""
    errors: int = 0
    """Errors in a row."""
    serving: Launch | None = None
    """The launch at work."""
    coming: Launch | None = None
    """The launch that is to take its place, or the first one."""
    leaving: list[Launch] = field(default_factory=list)
    """Launches that another has replaced, and that finish what they have."""
    suspended: str | None = None
    """Why requests are refused."""
    launches: int = 0
    """Launches so far; the number of the last one."""
    _wanted: Edition | None = field(default=None, repr=False)
    _installed: str | None = field(default=None, repr=False)
    """The edition whose preparing steps have been done last."""
    undo: Edition | None = None
    """What was installed last, if it has an uninstall step."""
    _stopping: Stop = field(default_factory=Stop, repr=False)
    """How it was told to stop last."""
    _retry_at: float | None = field(default=None, repr=False)
    _in_vain: bool = field(default=False, repr=False)
    """Whether a change that cannot be had was tried since what is wanted was set."""
    _growing: bool = field(default=False, repr=False)
    """Whether the serving launch has fewer workers than are wanted since a change."""
    _grow_until: float | None = field(default=None, repr=False)
    _up_since: float = field(default=0.0, repr=False)
    _warm: Mapping[int, int] = field(default_factory=dict, repr=False)

    @property
    def deadline(self) -> float | None:
        """Time in seconds at which Elapsed is to be told; None for never."""
        times = [self._retry_at, self._grow_until, *(launch.deadline for launch in self.all())]
        return min((time for time in times if time is not None), default=None)

    @property
    def ending(self) -> bool:
        """Whether it was told to stop, and has not ended yet."""
        return self.state in (ComponentState.STOPPING, ComponentState.UNINSTALLING) and self._wanted is None

    @property
    def ended(self) -> bool:
        """Whether nothing of it is at work or on the way."""
        return self._wanted is None and not self.ending

    @property
    def halted(self) -> bool:
        """Whether it has ended as it was told to, and may be wanted again."""
        return self.ended and self._stopping.halt

    def all(self) -> list[Launch]:
        """The launches that have not ended."""
        return [launch for launch in (self.serving, self.coming, *self.leaving) if launch is not None]

    def find(self, number: int) -> Launch | None:
        """The launch of that number, unless it has ended."""
        return next((launch for launch in self.all() if launch.number == number), None)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event at time `now` (seconds) and say what to do. Events that do not fit the state change nothing."""
        match event:
            case Want(edition, again):
                return [] if self.ending else self._want(edition, again, now)
            case Restart():
                return [] if self._wanted is None else self._anew(now)
            case Stop():
                return self._stop(event, now)
            case CannotChange(reason):
                return self._cannot_change(reason)
        actions: list[Action] = []
        match event:
            case Exited(number, step, code):
                if (launch := self.find(number)) is not None:
                    actions += launch.exited(step, code, now)
            case Unstartable(number, step, reason):
                if (launch := self.find(number)) is not None:
                    actions += launch.unstartable(step, reason, now)
            case Reported(number, errored):
                if (launch := self.find(number)) is not None:
                    actions += launch.reported(errored)
            case Warm(workers):
                self._warm = workers
                for launch in self.all():
                    launch.warm(workers.get(launch.number, 0))
                self._grow()
            case Elapsed():
                for launch in self.all():
                    actions += launch.elapsed(now)
                self._grown_too_late(now)
        actions += self._advance(now)
        if self._retry_at is not None and now >= self._retry_at and isinstance(event, Elapsed):
            actions += self._attempt(now)
        return actions

    def _want(self, edition: Edition, again: bool, now: float) -> list[Action]:
        before, self._wanted = self._wanted, edition
        same = before is not None and before.key == edition.key and not self._in_vain
        if same and not again:
            self._reshape(edition, now)
            return []
        back = (not same or self._growing) and self._works(edition)
        self._in_vain = False
        if not back:
            return self._anew(now)
        # What was to take its place has not: it has been at work all the while.
        self.errors, self._retry_at = 0, None
        self._is_up()
        self._reshape(edition, now)
        return self._drop_coming()

    def _works(self, edition: Edition) -> bool:
        return self.serving is not None and self.serving.phase is Phase.UP and self.serving.edition.key == edition.key

    def _anew(self, now: float) -> list[Action]:
        self.errors = 0
        return self._drop_coming() + self._attempt(now)

    def _reshape(self, edition: Edition, now: float) -> None:
        """Take what changes in place: how many workers are wanted, how long they may take to leave."""
        for launch in self.all():
            if launch.edition.key == edition.key:
                launch.edition = edition
        if self._growing or (self.state is ComponentState.RUNNING and self._works(edition) and edition.serves):
            self.state, self._growing, self._grow_until = ComponentState.STARTING, True, now + edition.limit("run")
        self._grow()

    def _grow(self) -> None:
        if self._growing and self.serving is not None and self._workers() >= self.serving.edition.workers:
            self._is_up()

    def _grown_too_late(self, now: float) -> None:
        if self._grow_until is not None and now >= self._grow_until and self.serving is not None:
            edition, self._grow_until = self.serving.edition, None
            self.state = ComponentState.BROKEN
            self.error = f"{self._workers()} of {edition.workers} workers are there after {edition.limit('run'):g} s"

    def _workers(self) -> int:
        return self._warm.get(self.serving.number, 0) if self.serving is not None else 0

    def _attempt(self, now: float) -> list[Action]:
        """Begin a launch of what is wanted."""
        assert self._wanted is not None
        self._retry_at, self._growing, self._grow_until = None, False, None
        self.launches += 1
        recovers = bool(self.errors) and self.serving is None and "recover" in self._wanted.steps
        steps = (["recover"] if recovers else []) + (
            [] if self._installed == self._wanted.key else ["bootstrap", "install"]
        )
        self.coming = Launch(self.launches, self._wanted)
        if self.state is not ComponentState.BROKEN or self.errors == 0:
            self.state = ComponentState.ERRORED if recovers else ComponentState.NEW
        return self.coming.prepare(steps, now) + self._advance(now)

    def _advance(self, now: float) -> list[Action]:
        """Draw the conclusions from what the launches have come to."""
        actions: list[Action] = []
        self.leaving = [launch for launch in self.leaving if launch.phase is not Phase.GONE]
        serving = self.serving
        if serving is not None and serving.phase in (Phase.GONE, Phase.FINISHED, Phase.FAILED):
            self.serving = None
            actions += self._lost(serving, now)
        coming = self.coming
        if coming is None:
            return actions
        if coming.phase is Phase.PREPARED:
            actions += self._start(coming, now)
        match coming.phase:
            case Phase.UP:
                actions += self._promote(coming, now)
            case Phase.FINISHED:
                self.coming = None
                self._is_up(ComponentState.FINISHED)
            case Phase.FAILED:
                self.coming = None
                actions += self._fail(coming.failure or "", now)
        return actions

    def _start(self, coming: Launch, now: float) -> list[Action]:
        self._installed = coming.edition.key
        self.undo = coming.edition if "uninstall" in coming.edition.steps else None
        actions: list[Action] = []
        broken = self.state is ComponentState.BROKEN
        if self.serving is not None and not coming.edition.serves:
            if not broken:
                self.state = ComponentState.STOPPING
            actions = self.serving.close(now)
            if self.serving.phase is not Phase.GONE:
                return actions
            self.serving = None
        if not broken:
            self.state = ComponentState.STARTING
        return actions + coming.start(now)

    def _promote(self, coming: Launch, now: float) -> list[Action]:
        before, self.serving, self.coming, self._up_since = self.serving, coming, None, now
        self._is_up()
        if not coming.edition.serves:
            return []
        actions: list[Action] = [Serve(coming.number)]
        if before is not None:
            before.leave(now)
            self.leaving.append(before)
        return actions + self._suspend(None)

    def _is_up(self, state: ComponentState = ComponentState.RUNNING) -> None:
        self.state, self.error, self._growing, self._grow_until = state, None, False, None

    def _lost(self, launch: Launch, now: float) -> list[Action]:
        """The launch at work has ended."""
        if self.ending:
            return self._stopped(now)
        if self.coming is not None:
            return self._suspend(self.error) if self.state is ComponentState.BROKEN and launch.edition.serves else []
        if launch.phase is Phase.FINISHED:
            self._is_up(ComponentState.FINISHED)
            return []
        if now - self._up_since >= FORGIVE_S and self._retry_at is None:
            self.errors = 0
        return self._fail(launch.failure or "", now)

    def _fail(self, reason: str, now: float) -> list[Action]:
        self.errors, self.error, self._growing, self._grow_until = self.errors + 1, reason, False, None
        self._retry_at = now + min(LONGEST_RETRY_S, RETRY_S * 2.0 ** min(self.errors - 1, 16))
        if self.errors < ERRORS_TO_BREAK:
            self.state = ComponentState.ERRORED
            return []
        self.state = ComponentState.BROKEN
        return self._suspend(reason) if self.serving is None else []

    def _cannot_change(self, reason: str) -> list[Action]:
        if self.ending:
            return []
        self.state, self.error, self._in_vain, self._retry_at = ComponentState.BROKEN, reason, True, None
        self._growing, self._grow_until = False, None
        return self._drop_coming() + (self._suspend(reason) if self.serving is None else [])

    def _suspend(self, reason: str | None) -> list[Action]:
        if self.suspended == reason:
            return []
        self.suspended = reason
        return [Suspend(reason)]

    def _drop_coming(self) -> list[Action]:
        launch, self.coming = self.coming, None
        return launch.drop() if launch is not None else []

    def _stop(self, stop: Stop, now: float) -> list[Action]:
        if self.state is ComponentState.UNINSTALLED:
            return []
        self._stopping = stop
        if self.ended:
            return self._stopped(now)
        self.state = ComponentState.UNINSTALLING if stop.remove else ComponentState.STOPPING
        self._wanted, self._retry_at, self._growing, self._grow_until, self._in_vain = None, None, False, None, False
        actions = self._drop_coming()
        for launch in self.leaving:
            actions += launch.drop()
        if self.serving is not None:
            actions += self.serving.close(now)
        return actions + (self._stopped(now) if self.serving is None else self._advance(now))

    def _stopped(self, now: float) -> list[Action]:
        if self._stopping.remove and self.undo is not None:
            edition, self.undo, self.state = self.undo, None, ComponentState.UNINSTALLING
            self.launches += 1
            self.serving = Launch(self.launches, edition)
            return self.serving.undo(now)
        self.leaving, self.errors, self.suspended = [], 0, None
        if self._stopping.halt:
            self._is_up(ComponentState.FINISHED)
            return []
        self._installed = None
        self.state = ComponentState.UNINSTALLED if self._stopping.remove else ComponentState.INSTALLED
        return []
