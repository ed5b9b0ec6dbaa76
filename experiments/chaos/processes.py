"""The processes of a node, found below its agent: only what this run started can be among them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """A living process."""

    pid: int
    parent: int
    words: tuple[str, ...]
    component: str
    """The component that it belongs to; empty for the node's own processes."""

    @property
    def is_function(self) -> bool:
        """Whether it runs a function, or is the parent of such."""
        return "hitless.function" in self.words


def below(agent: int) -> list[Part]:
    """All processes below a node's agent."""
    children: dict[int, list[Part]] = {}
    for part in _all():
        children.setdefault(part.parent, []).append(part)
    found, look = [], [agent]
    while look:
        own = children.get(look.pop(), [])
        found += own
        look += [part.pid for part in own]
    return found


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes for the time of the block."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def emitters(parts: list[Part]) -> list[Part]:
    """The emitter of a node, if it lives."""
    return [part for part in parts if "greengrass_agent.emitter" in part.words]


def gateways(parts: list[Part], service: str) -> list[Part]:
    """The gateway of a service, if it lives."""
    return [part for part in parts if "greengrass_agent.gateway" in part.words and Path(part.words[-1]).stem == service]


def supervisors(parts: list[Part], component: str) -> list[Part]:
    """The parents of a component's workers: one, or two while a version replaces another."""
    own = _functions(parts, component)
    pids = {part.pid for part in own}
    return [part for part in own if part.parent not in pids]


def workers(parts: list[Part], component: str) -> list[Part]:
    """A component's workers. A process without a parent of its kind or children works itself."""
    own = _functions(parts, component)
    pids, parents = {part.pid for part in own}, {part.parent for part in own}
    return [part for part in own if part.parent in pids or part.pid not in parents]


def _functions(parts: list[Part], component: str) -> list[Part]:
    return [part for part in parts if part.is_function and part.component == component]


def _all() -> Iterator[Part]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            words = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
            variables = (folder / "environ").read_bytes().split(b"\0") if "hitless.function" in words else []
        except (OSError, ValueError):  # it has just ended
            continue
        if state not in "ZX":
            own = [one.partition(b"=")[2].decode() for one in variables if one.startswith(b"HITLESS_COMPONENT=")]
            yield Part(int(folder.name), int(parent), words, own[0] if own else "")
