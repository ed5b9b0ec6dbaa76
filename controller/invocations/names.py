"""The names by which AWS's clients call a function: bare, with a qualifier, as an ARN or as a part of one. Pure.

AWS Lambda API reference, Invoke, FunctionName. Region and account of an ARN may be any: what was written for a
function elsewhere calls the one of that name here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controller.invocations.errors import LambdaError, invalid

ACCOUNT = "000000000000"
LATEST = "$LATEST"
MAX_NAME = 170
_NAME = re.compile(
    r"(?:(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?\d{12}:function:)?"
    r"(?P<name>[A-Za-z0-9._-]+)(?::(?P<qualifier>[A-Za-z0-9$._+-]+))?"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A function as a caller names it."""

    name: str
    qualifier: str
    """Empty: none."""

    @property
    def version(self) -> str:
        """The only version that is meant; empty for any."""
        return "" if self.qualifier == LATEST else self.qualifier

    def arn(self, region: str) -> str:
        """Its ARN in this fabric."""
        tail = f":{self.qualifier}" if self.qualifier else ""
        return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{self.name}{tail}"


def named(text: str, qualifier: str | None) -> Named:
    """What a FunctionName and a Qualifier mean together. Raises LambdaError."""
    match = _NAME.fullmatch(text) if len(text) <= MAX_NAME else None
    if match is None:
        raise LambdaError(
            "ValidationException",
            400,
            f"FunctionName {text[:MAX_NAME]!r}: expected a name, NAME:QUALIFIER, an ARN of a function, "
            "or the part of one from the account on",
        )
    own = match["qualifier"] or ""
    if qualifier and own and qualifier != own:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return Named(match["name"], qualifier or own)
