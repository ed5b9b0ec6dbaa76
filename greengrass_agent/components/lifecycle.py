"""The life of one component on a node: Greengrass's component states as a state machine. Pure: time is passed in.

States and limits: AWS IoT Greengrass, "Component recipe reference", lifecycle. What a component does is told as events;
what to do is returned as actions; `deadline` is when `Elapsed` must be told if nothing happens before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hitless.component.states import ComponentState
from hitless.exits import describe_exit

TIMEOUTS_S: Final[Mapping[str, float]] = {
    "bootstrap": 120.0,
    "install": 120.0,
    "startup": 120.0,
    "run": 120.0,
    "shutdown": 15.0,
    "recover": 60.0,
}
"""How long a step may take unless the recipe says otherwise; for `run`, how long until a service answers."""
ERRORS_TO_BREAK = 3
FORGIVE_S = 3600.0
RETRY_S = 0.5
"""Wait after the first error in a row; doubles with each."""


@dataclass(frozen=True, slots=True)
class Start:
    """The component is wanted."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The component is to end; `remove` means for good."""

    remove: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """The process of a step has ended."""

    step: str
    code: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The component's service can take work (its function is loaded)."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The deadline has passed."""


@dataclass(frozen=True, slots=True)
class CannotStart:
    """What the component needs of the node cannot be had; trying again would not help."""

    reason: str


Event = Start | Stop | Exited | Ready | Elapsed | CannotStart


@dataclass(frozen=True, slots=True)
class RunStep:
    """Start the script of a step."""

    step: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the component's processes to end (SIGTERM)."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End everything of the component at once (SIGKILL)."""


Action = RunStep | Terminate | Kill


@dataclass(slots=True)
class Lifecycle:
    """One component's machine."""

    steps: Mapping[str, float | None]
    """The lifecycle steps that the recipe has, with their time limits in seconds (None: the default)."""
    serves: bool = False
    """Whether RUNNING waits for Ready; otherwise a component runs as soon as its script does."""
    state: ComponentState = ComponentState.NEW
    deadline: float | None = None
    """Time at which Elapsed is to be told; None for never."""
    error: str | None = None
    """The last thing that went wrong, for people."""
    errors: int = 0
    """Errors in a row."""
    _step: str | None = field(default=None, repr=False)
    """The step whose process is running."""
    _installed: bool = field(default=False, repr=False)
    """Whether all that comes before the launch has been done."""
    _removing: bool = field(default=False, repr=False)
    _last_error: float = field(default=float("-inf"), repr=False)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event at time `now` (seconds) and say what to do. Events that do not fit the state change nothing."""
        match event:
            case Start():
                return self._start(now)
            case Stop(remove):
                return self._stop(remove, now)
            case Exited(step, code):
                return self._exited(step, code, now)
            case Ready():
                if self.state is ComponentState.STARTING and self._step == "run":
                    self._settle(ComponentState.RUNNING)
                return []
            case Elapsed():
                return self._elapsed(now)
            case CannotStart(reason):
                self.state, self.deadline, self.error, self._step = ComponentState.BROKEN, None, reason, None
                return [Kill()]

    def _start(self, now: float) -> list[Action]:
        return (
            self._begin_life(now)
            if self.state in (ComponentState.NEW, ComponentState.INSTALLED, ComponentState.FINISHED)
            else []
        )

    def _begin_life(self, now: float) -> list[Action]:
        # A failed bootstrap or install is repeated from the first step: these must bear that anyway.
        if not self._installed:
            for step in ("bootstrap", "install"):
                if step in self.steps:
                    return self._begin(step, ComponentState.NEW, now)
        self.state = ComponentState.INSTALLED
        return self._launch(now)

    def _launch(self, now: float) -> list[Action]:
        self._installed = True
        step = next((step for step in ("startup", "run") if step in self.steps), None)
        if step is None:
            self._settle(ComponentState.FINISHED)
            return []
        actions = self._begin(step, ComponentState.STARTING, now)
        if step == "run" and not self.serves:
            self._settle(ComponentState.RUNNING)
        return actions

    def _begin(self, step: str, state: ComponentState, now: float) -> list[Action]:
        self.state, self._step = state, step
        self.deadline = now + self._limit(step)
        return [RunStep(step)]

    def _limit(self, step: str) -> float:
        return self.steps.get(step) or TIMEOUTS_S[step]

    def _settle(self, state: ComponentState) -> None:
        self.state, self.deadline = state, None

    def _exited(self, step: str, code: int, now: float) -> list[Action]:
        if self.state in (ComponentState.STOPPING, ComponentState.UNINSTALLING):
            return self._stopping_exit(step)
        if step != self._step:
            return []
        self._step = None
        if code != 0 and step != "recover":
            return self._fail(f"{step} {describe_exit(code)}", now)
        match step:
            case "bootstrap" if "install" in self.steps:
                return self._begin("install", ComponentState.NEW, now)
            case "bootstrap" | "install":
                self.state = ComponentState.INSTALLED
                return self._launch(now)
            case "startup":
                self._settle(ComponentState.RUNNING)
                return []
            case "run" if self.serves:
                return self._fail("run exited with code 0 although it serves", now)
            case "run":
                self._settle(ComponentState.FINISHED)
                return []
            case _:
                self.deadline = now + self._backoff()
                return []

    def _fail(self, reason: str, now: float) -> list[Action]:
        if now - self._last_error >= FORGIVE_S:
            self.errors = 0
        self.errors += 1
        self._last_error, self.error, self._step = now, reason, None
        if self.errors >= ERRORS_TO_BREAK:
            self.state, self.deadline = ComponentState.BROKEN, now + FORGIVE_S
            return [Kill()]
        self.state = ComponentState.ERRORED
        if "recover" in self.steps:
            return [Kill(), *self._begin("recover", ComponentState.ERRORED, now)]
        self.deadline = now + self._backoff()
        return [Kill()]

    def _backoff(self) -> float:
        return RETRY_S * 2.0 ** (self.errors - 1)

    def _elapsed(self, now: float) -> list[Action]:
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        match self.state:
            case ComponentState.STOPPING | ComponentState.UNINSTALLING:
                self._stopped()
                return [Kill()]
            case ComponentState.BROKEN:
                self.errors = 0
                return self._begin_life(now)
            case ComponentState.ERRORED if self._step == "recover":
                self._step = None
                self.deadline = now + self._backoff()
                return [Kill()]
            case ComponentState.ERRORED:
                return self._begin_life(now)
            case _:
                step = self._step or "run"
                return self._fail(f"{step} not done within {self._limit(step):g} s", now)

    def _stop(self, remove: bool, now: float) -> list[Action]:
        self._removing = remove
        stopping = ComponentState.UNINSTALLING if remove else ComponentState.STOPPING
        if self.state in (ComponentState.STOPPING, ComponentState.UNINSTALLING):
            self.state = stopping
            return []
        if self.state is ComponentState.UNINSTALLED:
            return []
        launched = self.state in (ComponentState.STARTING, ComponentState.RUNNING)
        running = self._step is not None
        self.state = stopping
        self.deadline = now + self._limit("shutdown")
        if launched and "shutdown" in self.steps:
            return [RunStep("shutdown")]
        if running:
            return [Terminate()]
        self._stopped()
        return [Kill()]

    def _stopping_exit(self, step: str) -> list[Action]:
        if step == "shutdown" and self._step in ("run",):
            return [Terminate()]
        if step in (self._step, "shutdown"):
            self._stopped()
            return [Kill()]
        return []

    def _stopped(self) -> None:
        self._step = None
        self._settle(ComponentState.UNINSTALLED if self._removing else ComponentState.INSTALLED)
