"""One launch of a component: its steps up to a process that works, and its way out. Pure: time is passed in.

Steps and their limits: AWS IoT Greengrass, "Component recipe reference", lifecycle. A launch prepares (bootstrap,
install), starts (startup or run), is up, and leaves. Which of a component's launches does what is lifecycle.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hitless.exits import describe_exit

TIMEOUTS_S: Final[Mapping[str, float]] = {
    "bootstrap": 120.0,
    "install": 120.0,
    "startup": 120.0,
    "run": 120.0,
    "shutdown": 15.0,
    "recover": 60.0,
    "uninstall": 120.0,
}
"""How long a step may take unless the recipe says otherwise.

`run`: how long until a service answers. Without a service it may take for ever, unless the recipe says otherwise.
"""
RESTART: Final = 100
REBOOT: Final = 101
"""Exit codes by which a bootstrap step asks that the agent be started anew, or the machine."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What is to run: a component's content with as much of its configuration as a process cannot change any more."""

    key: str
    """Equal for editions between which a running process cannot tell a difference."""
    steps: Mapping[str, float | None]
    """The lifecycle steps that the recipe has, with their time limits in seconds (None: the default)."""
    serves: bool = False
    """Whether a launch is up when its workers are warm; otherwise when its script runs, or its startup has ended."""
    workers: int = 1
    """Warm workers without which a launch that serves is not up."""
    leave_s: float = 0.0
    """How long a launch that served may take to finish what it has when another serves in its place."""

    may_reboot: bool = False
    """Whether a bootstrap step may have the machine rebooted."""

    def limit(self, step: str) -> float:
        """Seconds that a step may take."""
        return self.steps.get(step) or TIMEOUTS_S[step]


@dataclass(frozen=True, slots=True)
class RunStep:
    """Start the script of a step, in the launch's group."""

    launch: int
    step: str


@dataclass(frozen=True, slots=True)
class StartAnew:
    """The bootstrap step is done, and has the agent started anew, or the machine if `reboot`."""

    launch: int
    reboot: bool


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the launch's processes to end (SIGTERM)."""

    launch: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End everything of the launch at once (SIGKILL)."""

    launch: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Have new work go to this launch; the one that had it until now finishes what it has."""

    launch: int


@dataclass(frozen=True, slots=True)
class Suspend:
    """Refuse requests at once with this reason; None: take them again."""

    reason: str | None


Action = RunStep | StartAnew | Terminate | Kill | Serve | Suspend


class Phase(StrEnum):
    """Where a launch stands."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    STARTING = "starting"
    UP = "up"
    LEAVING = "leaving"
    """Another serves in its place: it finishes what it has and ends by itself."""
    CLOSING = "closing"
    """It was asked to end."""
    FINISHED = "finished"
    FAILED = "failed"
    GONE = "gone"


@dataclass(slots=True)
class Launch:
    """One launch's machine. FINISHED, FAILED and GONE are ends: its group has been killed."""

    number: int
    edition: Edition
    phase: Phase = Phase.PREPARING
    deadline: float | None = None
    """Time in seconds at which `elapsed` is to be told."""
    failure: str | None = None
    """Why it FAILED, for people."""
    _step: str | None = field(default=None, repr=False)
    """The step whose process runs, `shutdown` apart."""
    _todo: list[str] = field(default_factory=list, repr=False)

    def prepare(self, steps: Iterable[str], now: float) -> list[Action]:
        """Run those of these steps that the recipe has, one after the other."""
        self._todo = [step for step in steps if step in self.edition.steps]
        return self._prepare_next(now)

    def start(self, now: float) -> list[Action]:
        """Start what works, once PREPARED."""
        step = next((step for step in ("startup", "run") if step in self.edition.steps), None)
        if step is None:
            return self._end(Phase.FINISHED)
        self.phase = Phase.STARTING
        actions = self._begin(step, now)
        if step == "run" and not self.edition.serves:
            self.phase = Phase.UP
            if self.edition.steps["run"] is None:
                self.deadline = None
        return actions

    def warm(self, workers: int) -> None:
        """So many of its workers can take work."""
        if self.phase is Phase.STARTING and self.edition.serves and workers >= self.edition.workers:
            self._settle()

    def exited(self, step: str, code: int, now: float) -> list[Action]:
        """The process of a step has ended."""
        if self.phase in (Phase.LEAVING, Phase.CLOSING):
            return self._exited_on_the_way_out(step, now)
        if step != self._step:
            return []
        if step == "bootstrap" and (code == RESTART or (code == REBOOT and self.edition.may_reboot)):
            # It stays at this step until the agent ends.
            return [StartAnew(self.number, code == REBOOT)]
        self._step = None
        if step == "bootstrap" and code == REBOOT:
            return self.fail(
                "bootstrap exited with code 101, which asks for a reboot, and the node's owner does not allow it"
                " (allow_reboot in its agent's configuration): reboot the node yourself"
            )
        if code != 0 and step != "recover":
            return self.fail(f"{step} {describe_exit(code)}")
        match step:
            case "startup" if not self.edition.serves:
                self._settle()
                return []
            case "startup":
                return []
            case "run" if self.edition.serves:
                return self.fail("run exited with code 0 although it serves")
            case "run":
                return self._end(Phase.FINISHED)
            case _:
                return self._prepare_next(now)

    def unstartable(self, step: str, reason: str, now: float) -> list[Action]:
        """The process of a step could not be started."""
        if step == "recover" or self.phase in (Phase.LEAVING, Phase.CLOSING):
            return self.exited(step, 1, now)
        return self.fail(f"{step} cannot be started: {reason}") if step == self._step else []

    def reported(self, errored: bool) -> list[Action]:
        """It says of itself that it runs, which where it serves its workers do, or that it cannot go on."""
        if self.phase not in (Phase.STARTING, Phase.UP):
            return []
        if errored:
            return self.fail("it has reported itself ERRORED")
        if not self.edition.serves:
            self._settle()
        return []

    def fail(self, reason: str) -> list[Action]:
        """It cannot go on."""
        self.failure = reason
        return self._end(Phase.FAILED)

    def elapsed(self, now: float) -> list[Action]:
        """The deadline may have passed."""
        if self.deadline is None or now < self.deadline:
            return []
        match self.phase:
            case Phase.PREPARING if self._step == "recover":
                return [Kill(self.number), *self._prepare_next(now)]
            case Phase.LEAVING if "shutdown" in self.edition.steps:
                return self._shut_down(now)
            case Phase.LEAVING | Phase.CLOSING:
                return self._end(Phase.GONE)
            case _:
                step = self._step or next(step for step in ("startup", "run") if step in self.edition.steps)
                return self.fail(f"{step} not done within {self.edition.limit(step):g} s")

    def leave(self, now: float) -> None:
        """Another launch serves in its place, and the gateway has its processes end."""
        self.phase, self.deadline = Phase.LEAVING, now + self.edition.leave_s

    def close(self, now: float) -> list[Action]:
        """End in an orderly way."""
        if self.phase is Phase.CLOSING:
            return []
        worked = self.phase in (Phase.STARTING, Phase.UP)
        self.phase = Phase.CLOSING
        self.deadline = now + self.edition.limit("shutdown")
        if worked and "shutdown" in self.edition.steps:
            return self._shut_down(now)
        return [Terminate(self.number)] if self._step is not None else self._end(Phase.GONE)

    def undo(self, now: float) -> list[Action]:
        """Run the uninstall step, and end."""
        self.phase = Phase.CLOSING
        return self._begin("uninstall", now)

    def drop(self) -> list[Action]:
        """End at once."""
        return self._end(Phase.GONE)

    def _prepare_next(self, now: float) -> list[Action]:
        if self._todo:
            return self._begin(self._todo.pop(0), now)
        self.phase, self._step, self.deadline = Phase.PREPARED, None, None
        return []

    def _begin(self, step: str, now: float) -> list[Action]:
        self._step, self.deadline = step, now + self.edition.limit(step)
        return [RunStep(self.number, step)]

    def _shut_down(self, now: float) -> list[Action]:
        self.phase, self.deadline = Phase.CLOSING, now + self.edition.limit("shutdown")
        return [RunStep(self.number, "shutdown")]

    def _exited_on_the_way_out(self, step: str, now: float) -> list[Action]:
        if step == self._step:
            self._step = None
            if self.phase is Phase.LEAVING and "shutdown" in self.edition.steps:
                return self._shut_down(now)
            return self._end(Phase.GONE)
        if step == "shutdown":
            return [Terminate(self.number)] if self._step == "run" else self._end(Phase.GONE)
        return []

    def _settle(self) -> None:
        self.phase, self.deadline = Phase.UP, None

    def _end(self, phase: Phase) -> list[Action]:
        self.phase, self.deadline, self._step = phase, None, None
        return [Kill(self.number)]
