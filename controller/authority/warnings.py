"""What an operator is told of certificates and clocks, weeks before something stops. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.authority.plan import WARNED_S, days

SKEW_S = 30.0
"""How far a node's clock may be off unnoticed: a message may be on its way for some of it."""


def expiry(who: str, not_after: float, now: float) -> str | None:
    """A certificate that is to be renewed; None while it has long to go."""
    left = not_after - now
    if left > WARNED_S:
        return None
    date = f"{datetime.fromtimestamp(not_after, UTC):%Y-%m-%d}"
    if left <= 0:
        return f"the certificate of {who} has expired ({date}): it is refused by everyone; renew it"
    return f"the certificate of {who} expires in {days(left)} ({date}): renew it"


def skew(node: str, ahead_s: float) -> str | None:
    """A clock that is wrong; None for one that is right. Certificates are judged by it."""
    if abs(ahead_s) <= SKEW_S:
        return None
    direction = "ahead of" if ahead_s > 0 else "behind"
    return f"the clock of {node} is {abs(ahead_s):.0f} s {direction} this machine's: set the wrong one of the two"
