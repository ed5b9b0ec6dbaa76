"""MQTT's topic filters: which are filters at all, what they match, and how two of them relate. Pure.

OASIS MQTT 5, 4.7 (and 3.1.1, 4.7): `+` stands for one level, `#` at the end for any number of levels, its parent among
them. Topics that begin with `$` match no filter that begins with a wildcard.
"""

from __future__ import annotations

LONGEST = 65_535
"""Bytes of a topic or a filter (MQTT 5, 1.5.4)."""


def is_wild(topic_filter: str) -> bool:
    """Whether it has a wildcard where MQTT takes it as one."""
    return not {"+", "#"}.isdisjoint(topic_filter.split("/"))


def problem(text: str, *, wildcards: bool = True) -> str | None:
    """Why this is no topic filter, or without `wildcards` no topic, for people; None if it is one."""
    if not text or "\0" in text or len(text.encode(errors="replace")) > LONGEST:
        return f"expected 1 to {LONGEST} bytes without a null character"
    levels = text.split("/")
    if not wildcards:
        return "expected a topic without wildcards" if "+" in text or "#" in text else None
    if any(("+" in level and level != "+") or ("#" in level and level != "#") for level in levels):
        return "a wildcard stands for a whole level"
    return "# stands at the end only" if "#" in levels[:-1] else None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether what is published to `topic` is for who has subscribed to the filter."""
    return covers(topic_filter, topic)


def covers(wide: str, narrow: str) -> bool:
    """Whether whoever has subscribed to `wide` hears all that `narrow` would."""
    if narrow[:1] == "$" and wide[:1] in ("+", "#"):
        return False
    levels = narrow.split("/")
    patterns = wide.split("/")
    for index, pattern in enumerate(patterns):
        if pattern == "#":
            return True
        if index == len(levels) or levels[index] == "#":
            return False
        if pattern not in ("+", levels[index]):
            return False
    return len(patterns) == len(levels)


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
