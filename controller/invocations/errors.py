"""What a caller of the Invoke API is told when its call is not carried out, as Lambda words it. Pure."""

from __future__ import annotations

import json

ERROR_TYPE = "x-amzn-ErrorType"


class LambdaError(Exception):
    """A call that is refused."""

    def __init__(self, kind: str, status: int, message: str) -> None:
        """`kind` is the name of the exception in AWS's SDKs, such as ResourceNotFoundException."""
        super().__init__(message)
        self.kind = kind
        self.status = status

    @property
    def headers(self) -> dict[str, str]:
        """What says of which kind it is."""
        return {ERROR_TYPE: self.kind}

    @property
    def body(self) -> bytes:
        """The JSON that AWS's clients read. Some read the message by one spelling, some by the other."""
        whose = "Service" if self.status >= 500 else "User"
        return json.dumps({"Type": whose, "Message": str(self), "message": str(self)}).encode()


def not_found(arn: str) -> LambdaError:
    """No such function, or not in this version."""
    return LambdaError("ResourceNotFoundException", 404, f"Function not found: {arn}")


def invalid(message: str) -> LambdaError:
    """A parameter that is not served, or that contradicts another."""
    return LambdaError("InvalidParameterValueException", 400, message)


def too_large(limit: int) -> LambdaError:
    """More than Lambda takes, or than the service can be sent."""
    return LambdaError(
        "RequestTooLargeException", 413, f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
    )


def unavailable(reason: str) -> LambdaError:
    """Nothing was executed, and it may be tried again."""
    return LambdaError("ServiceException", 503, reason)
