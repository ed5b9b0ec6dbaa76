"""How large groups of an action profile may be and what their members may weigh (P4Info's `ActionProfile`)."""

from __future__ import annotations

from collections.abc import Iterable

from grpc import StatusCode

from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.schema import ActionProfile


def check_weight(profile: ActionProfile, weight: int, what: str) -> None:
    """Raises INVALID_ARGUMENT, naming `what`, for a weight that a member may not have."""
    if profile.equal and weight:
        raise invalid(f"{what}: weights are not allowed in action profile {profile.name!r}")
    if not profile.equal and weight <= 0:
        raise invalid(f"{what}: weight {weight} must be positive")
    if not profile.weighed and 0 < profile.max_weight < weight:
        raise invalid(f"{what}: weight {weight} is more than {profile.max_weight}")


def group_limit(profile: ActionProfile, max_size: int, before: int | None, what: str) -> int:
    """How large a group written with `max_size` may be, 0 for any size; `before` is what it was written with at first.
    A max_size of 0 leaves the choice to us, as it does in BMv2. Raises INVALID_ARGUMENT."""
    if before is not None and max_size != before:
        raise invalid(f"{what}: max_size was {before} and cannot become {max_size}")
    most = profile.max_group_size
    if max_size < 0 or (most and max_size > most):
        raise invalid(f"{what}: max_size {max_size} is not in 1..{most or 'any'}")
    return max_size or most


def check_size(weights: Iterable[int], weighed: bool, limit: int, code: StatusCode, what: str) -> None:
    """Raises an error of `code` when members of these weights are more than `limit` (0: none): together when sizes are
    `weighed`, by number otherwise."""
    size = sum((weight or 1) if weighed else 1 for weight in weights)
    if limit and size > limit:
        raise P4RuntimeError(code, f"{what}: its size {size} is more than {limit}")
