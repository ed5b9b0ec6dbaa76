"""The parent of a function's workers: forks them, replaces those that end, hears from the gateway how many to keep."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from hitless.exits import describe_exit
from hitless.runtime.gateway import GatewayConnection, GatewayLost, Wake, complain
from hitless.runtime.launch import Launch
from hitless.runtime.leave import leave
from hitless.runtime.pool import GIVE_UP_AFTER, Pool
from hitless.runtime.slots import Slot, Slots
from hitless.wire.worker_frames import End, Frame, Hello, Shutdown, Workers

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h."""
OOM_SCORE = Path("/proc/self/oom_score_adj")
WORSE = 100
"""How much sooner than its supervisor a worker is ended when memory runs out, in the kernel's units: as if it had a
tenth of the limit more. A supervisor takes all workers along."""


class Supervisor:
    """Keeps the workers of one launch."""

    def __init__(
        self, gateway: GatewayConnection, handler: str, launch: int, count: int, *, in_groups: bool = False
    ) -> None:
        """`count` workers are kept until the gateway says another number.

        `in_groups`: each is a process group with what it starts: signals to this process's group do not reach that,
        and it is killed when the worker has ended.
        """
        self._gateway = gateway
        self._in_groups = in_groups
        self._hello = Hello(os.getpid(), handler, launch, "supervisor")
        self._pool = Pool(count)
        self._slots = Slots()
        self._children: dict[int, Slot] = {}
        self._answers = 0
        """Of workers that have ended."""
        self._failure = 0
        """Exit code of the worker that ended last of itself, as `subprocess` gives it."""
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self) -> int | Slot:
        """Supervise until a SIGTERM or the gateway says to stop, or too many workers die early.

        Returns the exit code; in a forked worker its slot. Raises OSError when there is no gateway at the beginning;
        one that is lost later is waited for.
        """
        self._gateway.connect()
        wake = Wake(*_SIGNALS)
        again_at = self._greet()
        while True:
            now = time.monotonic()
            for _ in range(self._pool.to_start(now)):
                slot = self._fork(wake)
                if slot is not None:
                    return slot
            if not self._pool.children and (self._pool.stopping or self._pool.given_up):
                break
            if again_at is not None and now >= again_at and not self._pool.stopping:
                again_at = self._gateway.connect_again(now)
                again_at = self._greet() if again_at is None else again_at
            times = [one for one in (self._pool.next_start(now), again_at) if one is not None]
            timeout = max(0.0, min(times) - now) if times and not self._pool.stopping else None
            gateway = self._gateway.fileno()
            sources = [wake.readable.fileno()] + ([gateway] if self._gateway.connected else [])
            ready, _, _ = select.select(sources, (), (), timeout)
            if wake.readable.fileno() in ready:
                self._signalled(wake.taken())
            if gateway in ready:
                again_at = self._hear()
        self._gateway.close()
        return self._exit_code()

    def _greet(self) -> float | None:
        """Say hello. Returns when to connect again if that fails."""
        try:
            self._gateway.send(self._hello)
        except GatewayLost as error:
            return self._lost(error)
        return None

    def _hear(self) -> float | None:
        """Take what the gateway says. Returns when to connect again if it is gone."""
        try:
            self._gateway.read()
            while self._gateway.pending:
                self._take(self._gateway.next())
        except GatewayLost as error:
            return self._lost(error)
        return None

    def _lost(self, error: GatewayLost) -> float:
        self._gateway.close()
        if not self._pool.stopping:
            complain(f"supervisor: {error}: connecting again")
        return time.monotonic()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Workers(wanted):
                self._pool.wanted = wanted
            case End(pid):
                if self._pool.end(pid):
                    complain(f"worker {pid} did not answer within the time limit: killed")
                    os.kill(pid, signal.SIGKILL)
            case Shutdown():
                self._stop()
            case _:
                raise GatewayLost(f"gateway sent a {type(frame).__name__}, which is for workers")

    def _signalled(self, signals: set[int]) -> None:
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self._stop()
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if self._in_groups:
                with suppress(ProcessLookupError):
                    os.killpg(ended.si_pid, signal.SIGKILL)  # before its number may be another's
            pid, status = os.waitpid(ended.si_pid, 0)
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        slot = self._children.pop(pid, None)
        if slot is None:
            return
        life = slot.life()
        self._answers += life.answers
        answers = self._answers + sum(other.life().answers for other in self._children.values())
        self._pool.ended(pid, life, answers, time.monotonic())
        if self._pool.stopping or life.told:
            return
        self._failure = code
        if self._pool.given_up:
            complain(
                f"{GIVE_UP_AFTER} workers in a row ended before they had a request, "
                f"the last one {describe_exit(code)}: giving up"
            )
            self._stop()
        else:
            complain(f"worker {pid} {describe_exit(code)}: starting another")

    def _stop(self) -> None:
        self._pool.stop()
        for pid in self._pool.children:
            os.kill(pid, signal.SIGTERM)

    def _exit_code(self) -> int:
        if not self._pool.given_up:
            return 0
        return self._failure if self._failure > 0 else 128 - self._failure if self._failure < 0 else 1

    def _fork(self, wake: Wake) -> Slot | None:
        """Start a worker. Returns its slot in the new process, None in this one."""
        slot = self._slots.take(self._children)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        # A signal must meet either this process's handlers or the new one's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            complain(f"no further worker can be started: {error}")
            self._pool.postpone(time.monotonic())
            pid = -1
        if pid == 0:
            wake.close()
            self._gateway.close()
            if self._in_groups:
                os.setpgid(0, 0)
            for one in _SIGNALS:
                signal.signal(one, signal.SIG_DFL)
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            _die_first()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if pid == 0:
            return slot
        if pid > 0:
            self._children[pid] = slot
            self._pool.started(pid)
        return None


def supervise(launch: Launch, handler: str, count: int, *, in_groups: bool = False) -> Slot:
    """Be the supervisor of `count` workers until the end of this process; in each of them, returns its slot.

    Raises OSError when there is no gateway.
    """
    ended = Supervisor(GatewayConnection(launch.gateway), handler, launch.number, count, in_groups=in_groups).run()
    if isinstance(ended, int):
        leave(ended)
    return ended


def _die_first() -> None:
    """Let the kernel end this worker before its supervisor."""
    with suppress(OSError):  # a system that does not let it say so
        OOM_SCORE.write_text(str(min(int(OOM_SCORE.read_text()) + WORSE, 1000)))
