"""Handles a worker's requests by Lambda's Runtime API: each is an invocation for the function's own runtime."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hitless.runtime.bootstrap import GRACE_S, Bootstrap
from hitless.runtime.context import Context
from hitless.runtime.gateway import complain
from hitless.runtime.handler import FunctionError, HandlerError
from hitless.runtime.result import IllegalAnswer, JsonText
from hitless.runtime.worker import TRACE
from hitless.wire.runtime_api import (
    AnswerBegun,
    Answered,
    AnswerEnded,
    AnswerPart,
    Failed,
    Fault,
    InitFailed,
    Invocation,
    Started,
)

_WITH_HEAD = "application/vnd.awslambda.http-integration-response"
"""The content type of an answer in parts that begins with a JSON object of status, headers and cookies."""
_BEHIND_HEAD = bytes(8)
"""What stands between that object and the body."""
_LONGEST_HEAD = 256 * 1024


class Invocations:
    """A handler, as a worker calls one, that leaves the work to a bootstrap."""

    def __init__(self, path: Path, artifacts: Path) -> None:
        """Start the bootstrap, and wait until it asks for its first invocation.

        Raises HandlerError when it cannot be started or says that it cannot serve. If it ends, so does this process.
        """
        self.bootstrap = Bootstrap(path, artifacts)
        match self.bootstrap.next():
            case Started():
                pass
            case InitFailed(fault):
                raise HandlerError(f"bootstrap {path}: {_in_words(fault)}")
            case other:
                raise AssertionError(f"{other} before the first request")

    def __call__(self, event: dict[str, Any], context: Context) -> object:
        """The bootstrap's answer. Raises FunctionError for what it says is one."""
        if context.body is not None:
            raise HandlerError(
                "the configuration says `streamed: true`, which is for handlers in Python: "
                "Lambda's Runtime API hands out whole requests"
            )
        headers = {
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + context.get_remaining_time_in_millis()),
            "Lambda-Runtime-Invoked-Function-Arn": context.invoked_function_arn,
        }
        if (trace := os.environ.get(TRACE)) is not None:
            headers["Lambda-Runtime-Trace-Id"] = trace
        if context.client_context_json is not None:
            headers["Lambda-Runtime-Client-Context"] = " ".join(context.client_context_json.splitlines())
        self.bootstrap.api.offer(Invocation(context.aws_request_id, headers, json.dumps(event).encode()))
        self.bootstrap.flush()
        match self.bootstrap.next():
            case Answered(body):
                return JsonText(body)
            case Failed(fault):
                self.bootstrap.settle()
                raise FunctionError(*fault)
            case AnswerBegun(content_type):
                parts = self._parts()
                return _with_head(parts) if content_type.startswith(_WITH_HEAD) else parts
            case other:
                raise AssertionError(f"{other} as an answer")

    def _parts(self) -> Iterator[bytes]:
        """The parts of an answer as they come; closed early, it lets the runtime finish for a little while."""
        complete = False
        try:
            while True:
                match self.bootstrap.next():
                    case AnswerPart(data):
                        yield data
                    case AnswerEnded(fault):
                        complete = True
                        if fault is not None:
                            self.bootstrap.settle()
                            raise FunctionError(*fault)
                        return
                    case other:
                        raise AssertionError(f"{other} within an answer")
        finally:
            if not complete:
                self._let_finish()

    def _let_finish(self) -> None:
        """Take the rest of an answer that nobody wants, then break its connection, which a runtime may take for its
        end: the next request must not meet it then."""
        until = time.monotonic() + GRACE_S
        while (left := until - time.monotonic()) > 0:
            if isinstance(self.bootstrap.next(left), AnswerEnded):
                return
        self.bootstrap.api.cut()
        self.bootstrap.flush()
        self.bootstrap.settle()
        if not self.bootstrap.api.asked and not self.bootstrap.ended:
            complain("the bootstrap does not ask for invocations after an answer whose client has gone: killed")
            self.bootstrap.kill()


def _with_head(parts: Iterator[bytes]) -> dict[str, Any]:
    """An answer whose body is the rest of these parts, behind the JSON object that they begin with."""
    begin = b""
    for part in parts:
        begin += part
        end = begin.find(_BEHIND_HEAD)
        if end >= 0:
            break
        if len(begin) > _LONGEST_HEAD:
            raise IllegalAnswer(f"the answer's first {_LONGEST_HEAD} bytes have no end of its status and headers")
    else:
        raise IllegalAnswer("the answer ended before its status and headers did")
    try:
        head = json.loads(begin[:end])
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise IllegalAnswer("the answer's status and headers are no JSON object")
    return {"statusCode": 200, **head, "body": _behind(begin[end + len(_BEHIND_HEAD) :], parts)}


def _behind(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _in_words(fault: Fault) -> str:
    return "\n".join((f"{fault.kind}: {fault.message}", *fault.trace))
