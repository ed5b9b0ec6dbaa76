"""A client that gets each answer whole, for a protocol that cannot send one as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from greengrass_agent.gateway.job import Answer, Job


class Gathered:
    """Puts the parts of an answer together, up to a limit, and hands on whole answers."""

    def __init__(self, answer: Callable[[Answer], None], limit: int) -> None:
        """`answer` is called once. An answer of more than `limit` bytes becomes a 500 that says so."""
        self.job: Job | None = None
        """The job that this is the client of, to be set by whoever makes both: its worker is stopped at the limit."""
        self._answer = answer
        self._limit = limit
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body = bytearray()
        self._over = False

    def answer(self, answer: Answer) -> None:
        """Hand it on."""
        if len(answer.body) > self._limit:
            self._too_long()
            return
        self.job = None  # no circle is left to be collected
        self._answer(answer)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Keep the head until the end."""
        self._status, self._headers = status, headers

    def part(self, data: bytes) -> None:
        """Keep it, if there is room."""
        if self._over:
            return
        self._body += data
        if len(self._body) > self._limit:
            self._body.clear()
            flow = self.job.flow if self.job is not None else None
            self._too_long()
            if flow is not None:
                flow.cancel()

    def end(self) -> None:
        """Hand on what has come."""
        if not self._over:
            self._over = True
            self.answer(Answer(self._status, bytes(self._body), self._headers))

    def broken(self, reason: str) -> None:
        """Hand on an error in place of half an answer."""
        if not self._over:
            self._fail(502, reason)

    def body_wanted(self, wanted: bool) -> None:
        """Nothing: the request came whole."""

    def _too_long(self) -> None:
        self._fail(500, f"the function's answer is longer than the {self._limit} bytes that this protocol carries")

    def _fail(self, status: int, reason: str) -> None:
        self._over = True
        if self.job is not None:
            self.job.status = status
        self.answer(Answer(status, reason.encode(), {"content-type": "text/plain"}))
