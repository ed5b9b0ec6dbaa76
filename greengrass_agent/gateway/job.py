"""A request on its way through the gateway: what the servers, the queue and the workers pass to one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hitless.wire.worker_frames import NO_LINES, HttpHead, Invoked


class Answer(NamedTuple):
    """What a request is answered with, whole."""

    status: int
    body: bytes
    headers: Mapping[str, str] = NO_LINES

    @property
    def failed(self) -> bool:
        """Whether it is an error in place of a result."""
        return self.status >= 500


class Client(Protocol):
    """Whoever waits for a job's answer. Told either a whole answer, once, or `begin`, parts, and `end` or `broken`."""

    def answer(self, answer: Answer) -> None:
        """The whole answer."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer that comes in parts begins."""

    def part(self, data: bytes) -> None:
        """The next part of it. A client that cannot take more says `Job.flow.pause()`."""

    def end(self) -> None:
        """It is complete."""

    def broken(self, reason: str) -> None:
        """The rest of it will never come: its worker has ended or was stuck."""

    def body_wanted(self, wanted: bool) -> None:
        """Whether the worker has room for more of a streamed request body (told only for those)."""


class Flow(Protocol):
    """The worker's end of a job, for its client; the dispatcher sets it when a worker has the job."""

    def pause(self) -> None:
        """Take no further parts of the answer from the worker for now: it blocks."""

    def resume(self) -> None:
        """Take them again."""

    def body(self, data: bytes, *, last: bool) -> None:
        """The next part of a streamed request body."""

    def cancel(self) -> None:
        """The client has gone: the worker should stop."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way through the gateway. Times are time.monotonic_ns."""

    client_id: int
    request_id: int
    parent_id: int
    body: bytes | None
    """The whole body; None for one that is passed on as it comes, by `flow.body`."""
    http: HttpHead | None
    received_ns: int
    deadline_ns: int
    """The client waits no longer for the answer (for the beginning of one in parts), or the time limit is reached."""
    client: Client
    source: str = ""
    """The client's address, by which the queue is shared fairly."""
    number: int = 0
    """The gateway's own, unique."""
    dispatched_ns: int = 0
    started_ns: int = 0
    """When the handler was called; 0 before its worker has said so."""
    answered: bool = False
    """Whether the client was told an answer, or its beginning."""
    status: int = 0
    """Of that answer. A client that has to send another one sets it, so that the execution log says what was sent."""
    flow: Flow | None = None
    invoked: Invoked | None = None
    """Of an event that the handler gets as it is."""
    again: bool = False
    """Whether it is executed a second time, since the worker that had it died."""

    def conclude(self, answer: Answer) -> None:
        """Answer the request, unless it was answered before."""
        if not self.answered:
            self.answered = True
            self.status = answer.status
            self.client.answer(answer)

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Begin an answer in parts, unless the request was answered before. Returns whether it is this one."""
        if self.answered:
            return False
        self.answered = True
        self.status = status
        self.client.begin(status, headers)
        return True
