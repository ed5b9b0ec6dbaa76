"""Events that the handler gets as they are: taken if they are sealed with the node's key, else refused."""

from __future__ import annotations

import logging
from pathlib import Path

from greengrass_agent.gateway.job import Answer, Job
from hitless.wire.sealed_event import CONTENT_TYPE, MAGIC, SealError, key_of, unseal

log = logging.getLogger(__name__)


class SealedEvents:
    """What one service's gateway does about them."""

    def __init__(self, service: str, key: Path | None) -> None:
        """`key` is the key's file. One that cannot be read is told in the log, and to who sends events."""
        self._service = service
        self._key: bytes | None = None
        self._without = "this node takes no events as they are: its agent's configuration has no invoke_key"
        if key is not None:
            try:
                self._key = key_of(key.read_text())
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                self._without = f"this node takes no events as they are: its invoke_key {key}: {reason}"
                log.error("%s", self._without)

    def refuses(self, job: Job) -> bool:
        """Open a job's body if it is a sealed event; otherwise leave the job as it is.

        Returns whether the job is answered, since its event is not taken.
        """
        body = job.body
        if body is None:
            if job.http is None or job.http.headers.get("content-type") != CONTENT_TYPE:
                return False
            return _refuse(job, 415, "this function takes bodies as they come (streamed), and no events as they are")
        if not body.startswith(MAGIC):
            return False
        if self._key is None:
            return _refuse(job, 403, self._without)
        try:
            job.invoked, job.body = unseal(self._key, self._service, body)
        except SealError as error:
            return _refuse(job, 403, str(error))
        job.http = None
        return False


def _refuse(job: Job, status: int, reason: str) -> bool:
    job.conclude(Answer(status, reason.encode(), {"content-type": "text/plain; charset=utf-8"}))
    return True
