"""What a handler is told beside the event: Lambda's context object, and what is ours in it.

Attributes: AWS Lambda Developer Guide, "Using the Lambda context object to retrieve Python function information".
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

_LOW_48 = (1 << 48) - 1


class Readable(Protocol):
    """A request body that is read as it comes."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as soon as there are any; all that comes for a negative size. Empty at the end."""

    def __iter__(self) -> Iterator[bytes]:
        """The parts, as they come."""


class CognitoIdentity:
    """Who called, by Amazon Cognito. Nobody here is known to it, so both are None, as for any unsigned call."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None

    def __repr__(self) -> str:
        return "CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None])"


class Context:
    """What a handler is told about its invocation, beside the event. Handlers and libraries may add attributes.

    What is the same in all of a function's invocations are attributes of a class that `of` makes.
    """

    function_name: str
    """The component's."""
    function_version: str
    """The component's; Lambda's word `$LATEST` for none."""
    invoked_function_arn: str
    memory_limit_in_mb: str
    """What the function may use, as text."""
    log_group_name: str
    log_stream_name: str
    identity = CognitoIdentity()
    client_context: None = None
    """What a mobile application says of itself in a call by AWS's SDK; requests here are none of those."""
    client_context_json: str | None = None
    """Ours: the same, as the JSON text that came."""
    tenant_id: None = None

    def __init__(
        self, aws_request_id: str, configuration: Mapping[str, Any], deadline: float, body: Readable | None = None
    ) -> None:
        self.aws_request_id = aws_request_id
        """Of this execution; no other has it, on any node, at any time."""
        self.configuration = configuration
        """The component's configuration as it is for this request."""
        self.deadline = deadline
        """time.monotonic when the client stops waiting."""
        self.body = body
        """The request's body, where the configuration says `streamed`; else it is in the event."""

    @classmethod
    def of(
        cls,
        name: str,
        *,
        version: str = "$LATEST",
        memory_mb: str = "128",
        arn: str = "",
        log_group: str = "",
        log_stream: str = "",
    ) -> type[Context]:
        """The class of a function's contexts."""
        same = {
            "function_name": name,
            "function_version": version,
            "invoked_function_arn": arn,
            "memory_limit_in_mb": memory_mb,
            "log_group_name": log_group,
            "log_stream_name": log_stream,
        }
        return type("LambdaContext", (cls,), same)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the client stops waiting, at least 0."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Write a text to the component's log as it is."""
        print(message, end="", flush=True)

    def __repr__(self) -> str:
        return (
            f"LambdaContext([aws_request_id={self.aws_request_id},log_group_name={self.log_group_name},"
            f"log_stream_name={self.log_stream_name},function_name={self.function_name},"
            f"memory_limit_in_mb={self.memory_limit_in_mb},function_version={self.function_version},"
            f"invoked_function_arn={self.invoked_function_arn},client_context={self.client_context},"
            f"identity={self.identity},tenant_id={self.tenant_id}])"
        )


class RequestIds:
    """Ids of a worker's executions: UUIDs of version 4 (RFC 9562) that no other worker gives, before or after.

    74 bits of them are drawn at random once for each worker, and the last 48 count: a draw for each request would cost
    a system call.
    """

    def __init__(self) -> None:
        drawn = os.urandom(16).hex()
        variant = "89ab"[int(drawn[16], 16) & 3]
        self._prefix = f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{variant}{drawn[17:20]}-"
        self._count = itertools.count(int(drawn[20:], 16))

    def next(self) -> str:
        """Another one."""
        return f"{self._prefix}{next(self._count) & _LOW_48:012x}"
