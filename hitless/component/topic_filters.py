"""MQTT topic filters (MQTT 5, 4.7): which are filters at all, what they match, which have topics in common. Pure."""

from __future__ import annotations

LONGEST = 65_535
"""Bytes of a topic or a filter (MQTT 5, 1.5.4)."""


def problem(text: str, *, wildcards: bool) -> str | None:
    """Why this is no topic, or with `wildcards` no topic filter; None if it is one."""
    if not text or "\x00" in text or len(text.encode(errors="replace")) > LONGEST:
        return f"expected 1 to {LONGEST} bytes of text"
    levels = text.split("/")
    if not wildcards:
        return "expected a topic without wildcards" if "+" in text or "#" in text else None
    for number, level in enumerate(levels):
        if "#" in level and (level != "#" or number != len(levels) - 1):
            return "expected # as the whole last level"
        if "+" in level and level != "+":
            return "expected + as a whole level"
    return None


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter matches a topic."""
    return overlap(pattern, topic)


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that both filters match; a topic is a filter of itself."""
    left, right = one.split("/"), other.split("/")
    # "a/#" matches "a" too (4.7.1.2).
    for number in range(max(len(left), len(right)) + 1):
        first = left[number] if number < len(left) else None
        second = right[number] if number < len(right) else None
        if first == "#" or second == "#":
            return True
        if first is None or second is None:
            return first is second
        if first != second and "+" not in (first, second):
            return False
    return True
