"""Lengths of time as people write them: 90, 45s, 10m, 1h30m, 2d. Pure."""

import re

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?", re.ASCII)


def seconds(text: str) -> int:
    """How many seconds it is; a number without a unit is of seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"expected a length of time such as 90s, 10m, 1h30m or 2d, got {text[:40]!r}")
    return sum(int(given) * unit for given, unit in zip(found.groups(), _UNITS.values(), strict=True) if given)
